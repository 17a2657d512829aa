import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { once } from "node:events";

test("a thread becomes an I/O flusher where it may, and goes on where it may not", async () => {
  const module = new URL("io-flusher.ts", import.meta.url).href;
  const program = `
    import { parentPort } from "node:worker_threads";
    import koffi from ${JSON.stringify(import.meta.resolve("koffi"))};
    import { becomeIoFlusher } from ${JSON.stringify(module)};
    const prctl = koffi.load("libc.so.6").func("int prctl(int, ulong, ulong, ulong, ulong)");
    const isFlusher = await becomeIoFlusher();
    parentPort.postMessage({ isFlusher, state: prctl(58, 0, 0, 0, 0) });
  `;
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(program)}`));
  const [{ isFlusher, state }] = (await once(worker, "message")) as [
    { isFlusher: boolean; state: number },
  ];
  const capabilities = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "latin1"));
  const mayBe = ((BigInt(`0x${capabilities?.[1] ?? "0"}`) >> 24n) & 1n) === 1n;
  assert.equal(isFlusher, mayBe);
  // PR_GET_IO_FLUSHER asks for the same capability.
  assert.equal(state, mayBe ? 1 : -1);
});
