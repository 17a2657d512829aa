import assert from "node:assert/strict";
import { test } from "node:test";

import { normalizeDomain } from "./domain.ts";

test("a rule's domain is compared in one form", () => {
  const cases: Array<[string, string | null]> = [
    ["Example.COM", "example.com"],
    ["example.com.", "example.com"],
    ["*.Example.com", "*.example.com"],
    ["*", "*"],
    ["bücher.example", "xn--bcher-kva.example"],
    ["_acme-challenge.example.com", "_acme-challenge.example.com"],
    ["intranet", "intranet"],
    ["8.8.8.8.in-addr.arpa", "8.8.8.8.in-addr.arpa"],
  ];
  for (const [given, expected] of cases) assert.equal(normalizeDomain(given), expected, given);
});

test("what is no name, or an address, is none", () => {
  const bad = [
    "",
    ".",
    "*.",
    "**",
    "a.*",
    "a..b",
    "-a.example",
    "a-.example",
    "a b",
    "a/b",
    "a:443",
  ];
  const addresses = ["1.2.3.4", "0x7f000001", "2130706433", "[::1]", "::1", "*.1.2.3.4"];
  const long = [`${"a".repeat(64)}.example`, `${"a.".repeat(127)}example`];
  for (const text of [...bad, ...addresses, ...long])
    assert.equal(normalizeDomain(text), null, text);
});
