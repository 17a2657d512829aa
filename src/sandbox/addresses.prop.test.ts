import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";

import {
  defaultGuestRange,
  defaultLinkRange,
  formatRange,
  gatewayAddress,
  guestAddress,
  guestCountMax,
  linkAddresses,
  parseAddress,
  parseRange,
} from "./addresses.ts";

const range = parseRange(defaultGuestRange);
const timeBox = { interruptAfterTimeLimit: 3000 };

test("every sprite has an address of its own, inside the range and not the gateway's", () => {
  const index = fc.integer({ min: 0, max: guestCountMax(range) - 1 });
  fc.assert(
    fc.property(index, index, (left, right) => {
      const address = guestAddress(range, left);
      const number = parseAddress(address) ?? 0;
      assert.ok(number > range.base && number < range.base + 65_535, address);
      assert.notEqual(address, gatewayAddress(range));
      assert.equal(address === guestAddress(range, right), left === right);
    }),
    timeBox,
  );
});

test("a link's two ends are neighbours in the same block of four", () => {
  const links = parseRange(defaultLinkRange);
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 0xffff_ffff }), (index) => {
      const { machine, gateway } = linkAddresses(links, index);
      const [low = 0, high = 0] = [machine, gateway].map((text) => parseAddress(text) ?? 0);
      assert.equal(high, low + 1);
      assert.equal(low % 4, 1);
      assert.ok(low > links.base && high < links.base + 65_536);
    }),
    timeBox,
  );
});

test("a range survives being written and read", () => {
  assert.equal(formatRange(range), defaultGuestRange);
  assert.equal(guestCountMax(range), 65_279);
});

test("what is no range is refused", () => {
  const wrong = [
    "",
    "10.0.0.0",
    "10.0.0.1/16",
    "10.0.0.0/33",
    "10.0.0.0/24",
    "10.0.0.256/16",
    "x/16",
    "fd00::/16",
  ];
  for (const text of wrong) assert.throws(() => parseRange(text), /not an address range/, text);
  assert.throws(() => guestAddress(range, guestCountMax(range)));
  assert.throws(() => guestAddress(range, -1));
});
