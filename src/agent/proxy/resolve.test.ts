import assert from "node:assert/strict";
import test from "node:test";

import { addressesMax } from "./limits.ts";
import { parseHosts } from "./resolve.ts";

test("each address of a name counts once, in the order in which it was found", () => {
  const output = [
    "10.1.2.3      STREAM db.internal",
    "10.1.2.3      DGRAM  ",
    "fd00::7       STREAM ",
    "10.1.2.4      STREAM ",
    "",
  ].join("\n");
  assert.deepEqual(parseHosts(output), [
    { family: 4, address: "10.1.2.3" },
    { family: 6, address: "fd00::7" },
    { family: 4, address: "10.1.2.4" },
  ]);
});

test("what a guest's own program says may be anything", () => {
  const odd = ["fe80::1%eth0 STREAM", "-c", "999.1.1.1 x", "\0\0", "127.0.0.1\tSTREAM"].join("\n");
  assert.deepEqual(parseHosts(odd), [{ family: 4, address: "127.0.0.1" }]);
  const many = Array.from({ length: 1000 }, (_, n) => `10.0.${n >> 8}.${n & 255} STREAM`);
  assert.equal(parseHosts(many.join("\n")).length, addressesMax);
});
