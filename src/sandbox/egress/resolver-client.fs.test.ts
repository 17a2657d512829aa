import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

import { createLog } from "../../base/log.ts";
import { ResolverClient } from "./resolver-client.ts";

const log = createLog({ level: "silent", room: "test" });
const directory = mkdtempSync(join(tmpdir(), "resolver-client-"));
after(() => rmSync(directory, { recursive: true }));

const port = { index: 3, interfaceName: "x", address: "10.209.1.3" };
const policy = { rules: [{ domain: "a.example", action: "allow" as const }] };

/** A thread that writes down what it is told; it ends when it is told of a sprite called `fatal` for the first time. */
function programOf(file: string): URL {
  const text = `
import { appendFileSync, existsSync, writeFileSync } from "node:fs";
import { parentPort } from "node:worker_threads";
parentPort.on("message", (order) => {
  if (order.spriteId === "fatal" && !existsSync("${file}.died")) {
    writeFileSync("${file}.died", "");
    throw new Error("the thread has died");
  }
  appendFileSync("${file}", order.type + " " + order.spriteId + " " + order.again + "\\n");
  const error = order.spriteId === "refused" ? "the kernel says no" : null;
  parentPort.postMessage({ type: "done", order: order.order, error });
});
parentPort.postMessage({ type: "ready" });`;
  return new URL(`data:text/javascript,${encodeURIComponent(text)}`);
}

function open(name: string): { client: ResolverClient; heard: () => string[] } {
  const file = join(directory, name);
  const place = { namespacePath: "", address: "", upstream: null, logLevel: "silent" as const };
  const client = new ResolverClient(place, log, programOf(file));
  return { client, heard: () => readFileSync(file, "utf8").trim().split("\n") };
}

test("a thread that dies is replaced, and told what held and what it died of", async () => {
  const { client, heard } = open("dies");
  await client.start();
  await client.set({ spriteId: "first", port, policy });
  await client.set({ spriteId: "fatal", port: { ...port, index: 4 }, policy });
  assert.deepEqual(heard(), ["set first false", "set first true", "set fatal false"]);
  await client.close();
});

test("what does not hold is an error, and is not what a new thread is told", async () => {
  const { client, heard } = open("refuses");
  await client.start();
  const set = client.set({ spriteId: "refused", port, policy });
  await assert.rejects(set, { code: "storage_failure" });
  await client.set({ spriteId: "fatal", port: { ...port, index: 5 }, policy });
  assert.deepEqual(heard(), ["set refused false", "set fatal false"]);
  await client.close();
});

test("a thread that never gets ready is an error of the start", async () => {
  const place = { namespacePath: "", address: "", upstream: null, logLevel: "silent" as const };
  const broken = new URL("data:text/javascript,throw new Error('no namespace')");
  const client = new ResolverClient(place, log, broken);
  await assert.rejects(client.start(), { code: "start_failed" });
  await client.close();
});
