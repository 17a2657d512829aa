import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";

import { readChanges, type Change } from "./changes.ts";

function encode({ watch, bits, cookie, name }: Change): Buffer {
  const padded = name.length === 0 ? 0 : Math.ceil((name.length + 1) / 16) * 16;
  const bytes = Buffer.alloc(16 + padded);
  bytes.writeInt32LE(watch, 0);
  bytes.writeUInt32LE(bits, 4);
  bytes.writeUInt32LE(cookie, 8);
  bytes.writeUInt32LE(padded, 12);
  name.copy(bytes, 16);
  return bytes;
}

const change = fc
  .record({
    watch: fc.integer({ min: -1, max: 1000 }),
    bits: fc.nat({ max: 0xffff_ffff }),
    cookie: fc.nat({ max: 0xffff_ffff }),
    name: fc.uint8Array({ min: 1, maxLength: 255 }).map((bytes) => Buffer.from(bytes)),
  })
  .map((record): Change => ({ ...record }));

test("changes are the same however their bytes are cut", () => {
  fc.assert(
    fc.property(fc.array(change), fc.array(fc.nat({ max: 400 })), (changes, cuts) => {
      let bytes = Buffer.concat(changes.map(encode));
      const read: Change[] = [];
      let rest: Buffer = Buffer.alloc(0);
      for (const cut of [...cuts, bytes.length]) {
        const result = readChanges(Buffer.concat([rest, bytes.subarray(0, cut)]));
        bytes = bytes.subarray(cut);
        read.push(...result.changes);
        rest = result.rest;
      }
      assert.deepEqual(read, changes);
      assert.equal(rest.length, 0);
    }),
  );
});
