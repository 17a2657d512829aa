import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeBootFile, digestOf, encodeBootFile, type BootFile } from "./boot-file.ts";

const file: BootFile = {
  units: [7, 3, 900],
  stateDigest: digestOf({ txid: 4, files: [[9, 1, 4, 1_000, 5]] }),
  layouts: new Map([
    [7, [{ segment: 1, offsetBlocks: 1, stored: 0xffff, live: 0xff00, check: 0xdeadbeef }]],
    [3, null],
    [
      900,
      [
        { segment: 1, offsetBlocks: 17, stored: 3, live: 1, check: 1 },
        { segment: 2, offsetBlocks: 1, stored: 2, live: 2, check: 2 },
      ],
    ],
  ]),
  keys: new Map([
    [1, "sprites/a/data/01/1"],
    [2, "sprites/b/data/02/2"],
  ]),
};

test("a boot list comes back as it was", () => {
  assert.deepEqual(decodeBootFile(encodeBootFile(file)), file);
});

test("a boot list of which anything was changed or is missing is none", () => {
  const whole = encodeBootFile(file);
  for (let length = 0; length < whole.length; length++) {
    assert.equal(decodeBootFile(whole.subarray(0, length)), null, `${length} bytes of it`);
  }
  for (let bit = 0; bit < whole.length * 8; bit++) {
    const changed = Uint8Array.from(whole);
    changed[bit >>> 3] = (changed[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
    const found = decodeBootFile(changed);
    if (found !== null) assert.deepEqual(found, file, `bit ${bit}`);
  }
  assert.equal(decodeBootFile(null), null);
  assert.equal(decodeBootFile(Buffer.from('{"formatVersion": 1, "units": [1]}')), null);
});

test("a state is told by its transaction and by every file of its chain", () => {
  const digest = digestOf({ txid: 4, files: [[9, 1, 4, 1_000, 5]] });
  assert.notEqual(digestOf({ txid: 5, files: [[9, 1, 4, 1_000, 5]] }), digest);
  assert.notEqual(digestOf({ txid: 4, files: [[9, 1, 4, 1_000, 6]] }), digest);
  assert.notEqual(digestOf({ txid: 4, files: [[9, 1, 4, 1_001, 5]] }), digest);
  assert.equal(digestOf({ txid: 4, files: [] }), null);
});
