import assert from "node:assert/strict";
import { test } from "node:test";

import { constrainedDomain, encodeNameConstraints } from "./name-constraints.ts";

/** As a certificate carries it: identifier, critical, the value in octets. */
function carried(value: Uint8Array, critical: readonly number[] = [1, 1, 0xff]): Uint8Array {
  const head = [0x30, 0x20, 0x06, 0x03, 0x55, 0x1d, 0x1e, ...critical, 0x04, value.length];
  return Uint8Array.of(...head, ...value, 0x30, 0x00);
}

test("a domain comes back from what limits an authority to it", () => {
  for (const domain of ["sprites.localhost", "localhost", "a".repeat(60) + ".example"]) {
    assert.equal(constrainedDomain(carried(encodeNameConstraints(domain))), domain);
  }
});

test("what is not critical, is wider, or is cut off limits nothing", () => {
  const value = encodeNameConstraints("sprites.localhost");
  assert.equal(constrainedDomain(carried(value, [])), null);
  assert.equal(constrainedDomain(carried(value.subarray(0, 30))), null);
  assert.equal(constrainedDomain(Uint8Array.of(1, 2, 3)), null);
  // A second permitted name behind the first.
  const second = [0x30, 0x05, 0x82, 0x03, 0x63, 0x6f, 0x6d];
  const nameLength = "sprites.localhost".length;
  const wider = Uint8Array.of(
    ...[0x30, (value[1] ?? 0) + second.length, 0xa0, (value[3] ?? 0) + second.length],
    ...value.subarray(4, 8 + nameLength),
    ...second,
    ...value.subarray(8 + nameLength),
  );
  assert.equal(constrainedDomain(carried(wider)), null);
  assert.throws(() => encodeNameConstraints("a".repeat(100)));
});
