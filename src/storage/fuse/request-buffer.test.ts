import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { requestSizeBytesMax } from "./limits.ts";
import { makeRequestBuffer } from "./request-buffer.ts";

test("a request's buffer is there from the beginning, and stays out of children", async () => {
  const buffer = await makeRequestBuffer(requestSizeBytesMax);
  assert.equal(buffer.length, requestSizeBytesMax);
  assert.equal(buffer.byteOffset % 4, 0);
  // "dc" is VM_DONTCOPY (proc_pid_smaps(5)).
  const areas = readFileSync("/proc/self/smaps", "latin1").split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  const area = areas.find((text) => /^VmFlags:.* dc( |$)/m.test(text) && text.includes("rw-p"));
  const residentKb = Number(/^Rss:\s+(\d+) kB/m.exec(area ?? "")?.[1]);
  assert.ok(residentKb * 1024 >= requestSizeBytesMax, `${residentKb} kB`);
});
