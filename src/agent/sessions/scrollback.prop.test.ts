import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";

import { Scrollback } from "./scrollback.ts";

const limit = 3000;
const writes = fc.array(
  fc.record({ tag: fc.constantFrom(1, 2), bytes: fc.uint8Array({ maxLength: 1200 }) }),
  { maxLength: 40 },
);

/** What was written, as one pair of stream and byte each. */
function flatten(chunks: ReadonlyArray<{ tag: number; bytes: Uint8Array }>): string[] {
  return chunks.flatMap(({ tag, bytes }) => [...bytes].map((byte) => `${tag}:${byte}`));
}

test("a scrollback holds exactly the last bytes, each on its stream and in order", () => {
  fc.assert(
    fc.property(writes, (list) => {
      const scrollback = new Scrollback<number>(limit);
      for (const { tag, bytes } of list) scrollback.append(tag, bytes);
      assert.deepEqual(flatten(scrollback.read()), flatten(list).slice(-limit));
      assert.equal(scrollback.sizeBytes, Math.min(limit, flatten(list).length));
    }),
    { interruptAfterTimeLimit: 5_000 },
  );
});

test("streams that alternate byte by byte cannot make it grow without bound", () => {
  const scrollback = new Scrollback<number>(1024 * 1024);
  for (let i = 0; i < 50_000; i++) scrollback.append(i % 2, Buffer.of(i & 0xff));
  const chunks = scrollback.read();
  assert.ok(chunks.length <= 8_192, String(chunks.length));
  assert.equal(chunks.at(-1)?.bytes[0], 49_999 & 0xff);
});
