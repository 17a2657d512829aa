import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { promisify } from "node:util";
import { Worker } from "node:worker_threads";
import { requestSizeBytesMax } from "./limits.ts";
import { makeRequestBuffer } from "./request-buffer.ts";

test("a request's buffer is there from the beginning, and stays out of children", async () => {
  const buffer = await makeRequestBuffer(requestSizeBytesMax);
  assert.equal(buffer.length, requestSizeBytesMax);
  assert.equal(buffer.byteOffset % 4, 0);
  // "dc" is VM_DONTCOPY (proc_pid_smaps(5)).
  const areas = readFileSync("/proc/self/smaps", "latin1").split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  const residentKb = areas
    .filter((text) => /^VmFlags:.* dc( |$)/m.test(text) && text.includes("rw-p"))
    .map((text) => Number(/^Rss:\s+(\d+) kB/m.exec(text)?.[1]));
  assert.ok(Math.max(...residentKb) * 1024 >= requestSizeBytesMax, `${residentKb.join(" ")} kB`);
});

/** Memory that is freed and used again must not carry the advice along: a child would lack it. */
test("buffers of threads that have ended keep no program from starting", async () => {
  const source = new URL("./request-buffer.ts", import.meta.url).href;
  const thread = `const { makeRequestBuffer } = await import(${JSON.stringify(source)});
    await makeRequestBuffer(${requestSizeBytesMax});`;
  for (let round = 0; round < 8; round++) {
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(thread)}`));
    await once(worker, "exit");
    const args = Array.from({ length: 12 }, () => "x".repeat(100_000));
    await promisify(execFile)("true", args);
  }
});
