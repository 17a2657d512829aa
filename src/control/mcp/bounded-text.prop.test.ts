import assert from "node:assert/strict";
import { test } from "node:test";

import fc from "fast-check";

import { BoundedText } from "./bounded-text.ts";

test("whatever the pieces, the beginning and the end are kept, and what is left out is counted", () => {
  const pieces = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 30 });
  const ascii = (bytes: Uint8Array): Buffer => Buffer.from(bytes.map((byte) => 97 + (byte % 26)));
  fc.assert(
    fc.property(pieces, fc.integer({ min: 1, max: 20 }), (parts, half) => {
      const text = new BoundedText(2 * half);
      const all = Buffer.concat(parts.map(ascii)).toString();
      for (const part of parts) text.push(ascii(part));
      assert.equal(text.sizeBytes, all.length);
      const leftOut = all.length - 2 * half;
      const expected =
        leftOut <= 0
          ? all
          : `${all.slice(0, half)}\n[... ${leftOut} bytes left out ...]\n${all.slice(-half)}`;
      assert.equal(text.toString(), expected);
    }),
    { numRuns: 500 },
  );
});

test("a cut divides no character", () => {
  const text = new BoundedText(8);
  text.push(Buffer.from("aaaéxxxxxébbb"));
  assert.equal(text.toString(), "aaa\n[... 7 bytes left out ...]\nbbb");
});
