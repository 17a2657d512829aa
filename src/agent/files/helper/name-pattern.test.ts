import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";

import { matchesPattern } from "./name-pattern.ts";

test("stars, question marks and sets", () => {
  const fits: Array<[pattern: string, name: string, isFit: boolean]> = [
    ["*.ts", "a.ts", true],
    ["*.ts", "a.tsx", false],
    ["a*b*c", "a-b-b-c", true],
    ["a*b*c", "a-b-b", false],
    ["?", "é", true],
    ["??", "a", false],
    ["[a-c]x", "bx", true],
    ["[!a-c]x", "bx", false],
    ["[^a-c]x", "dx", true],
    ["[]]", "]", true],
    ["[", "[", true],
    ["[a", "[a", true],
    ["\\*", "*", true],
    ["\\*", "a", false],
    ["", "", true],
    ["*", "", true],
    ["", "a", false],
  ];
  for (const [pattern, name, isFit] of fits) {
    assert.equal(matchesPattern(pattern, name), isFit, `${pattern} ${name}`);
  }
});

test("a pattern that a matcher which goes back would never be done with has its answer", () => {
  assert.equal(matchesPattern(`${"*a".repeat(120)}b`, "a".repeat(255)), false);
});

test("every name fits itself, and any star in the place of a part of it", () => {
  const letters = fc.string({ unit: fc.constantFrom("a", "b", ".", "-"), maxLength: 12 });
  fc.assert(
    fc.property(letters, letters, letters, (one, middle, other) => {
      const name = one + middle + other;
      return matchesPattern(name, name) && matchesPattern(`${one}*${other}`, name);
    }),
  );
});
