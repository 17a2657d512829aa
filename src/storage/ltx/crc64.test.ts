import assert from "node:assert/strict";
import fc from "fast-check";
import { describe, it } from "node:test";
import { Crc64 } from "./crc64.ts";

/** The definition, a bit at a time. */
function slowCrc(bytes: Uint8Array): bigint {
  let register = 0xffff_ffff_ffff_ffffn;
  for (const byte of bytes) {
    register ^= BigInt(byte);
    for (let bit = 0; bit < 8; bit++) {
      register = (register >> 1n) ^ (register & 1n ? 0xd800_0000_0000_0000n : 0n);
    }
  }
  return register ^ 0xffff_ffff_ffff_ffffn;
}

describe("crc64", () => {
  it("has the published check value", () => {
    const crc = new Crc64().update(Buffer.from("123456789"));
    assert.equal(crc.digest(), 0xb909_56c7_75a4_1001n);
    assert.equal(new Crc64().digest(), 0n);
  });

  it("agrees with the definition, however the bytes are cut", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 8 }), (parts) => {
        const crc = new Crc64();
        for (const part of parts) crc.update(part);
        assert.equal(crc.digest(), slowCrc(Buffer.concat(parts)));
      }),
    );
  });
});
