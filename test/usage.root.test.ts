/** What a sprite has used, through sleep, a killed server and a deleted sprite. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { UsageObject } from "../src/contract/usage.ts";
import { TestServer } from "./support/server.ts";

let server: TestServer;
before(async () => {
  server = await TestServer.start();
});
after(async () => {
  await server.close();
});

async function usage(query = ""): Promise<UsageObject> {
  const from = new Date(Date.now() - 86_400_000).toISOString();
  const answer = await server.request(`/v1/usage?from=${from}${query}`);
  assert.equal(answer.status, 200);
  return (await answer.json()) as UsageObject;
}

/** What the kernel says of the processor time in the container's own shell: the last line of `times`, in seconds. */
const work =
  "i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done; head -c 3000000 /dev/urandom > ~/file; sync; times";

test("work is metered, sleep costs storage only, and a killed server counts nothing twice", async () => {
  const sprite = await server.client().createSprite("worker", { labels: ["ci"] });
  const { stdout } = await sprite.execFile("sh", ["-c", work]);
  process.stdout.write(`# ${String(stdout).trim().replaceAll("\n", " ")}\n`);
  await server.request("/v1/sprites/worker/sleep", { method: "POST" });
  const slept = await usage();
  process.stdout.write(`# ${JSON.stringify(slept)}\n`);
});
