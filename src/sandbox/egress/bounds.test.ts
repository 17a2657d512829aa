/** What a sprite may be told, ask and change has bounds. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { AddressBook } from "./address-book.ts";
import { KernelChanges } from "./kernel-changes.ts";
import { nameBudgetBytesMax, openNameLengthMax, toldAddressesMax } from "./limits.ts";
import { NameBudget } from "./name-budget.ts";

const times = { openUntilMs: 2000, enoughUntilMs: 1000 };

test("an address that is open for long enough is not opened again", () => {
  const book = new AddressBook();
  const tell = (changes: object): string[] =>
    book.tell(["a.example"], { addresses: ["192.0.2.1"], ...times, ...changes }).renew;
  assert.deepEqual(tell({}), ["192.0.2.1"]);
  assert.deepEqual(tell({}), []);
  assert.deepEqual(tell({ openUntilMs: 4000, enoughUntilMs: 3000 }), ["192.0.2.1"]);
  book.forgetOpening(["192.0.2.1"]);
  assert.deepEqual(tell({}), ["192.0.2.1"]);
});

test("the address that was told longest ago makes room", () => {
  const book = new AddressBook();
  const address = (n: number): string => `198.18.${n >> 8}.${n & 255}`;
  for (let n = 0; n < toldAddressesMax; n += 1) {
    assert.deepEqual(book.tell(["a"], { addresses: [address(n)], ...times }).evicted, []);
  }
  book.tell(["a"], { addresses: [address(0)], ...times });
  assert.deepEqual(book.tell(["a"], { addresses: ["192.0.2.1"], ...times }).evicted, [address(1)]);
});

test("an answer whose addresses are open changes nothing", () => {
  const book = new AddressBook();
  assert.ok(!book.isOpen(["192.0.2.1"], 1000));
  book.tell(["a.example"], { addresses: ["192.0.2.1"], ...times });
  assert.ok(book.isOpen(["192.0.2.1"], 2000));
  assert.ok(!book.isOpen(["192.0.2.1"], 2001));
  assert.ok(!book.isOpen(["192.0.2.1", "192.0.2.2"], 1000));
});

test("an address stays as long as one of its names is allowed", () => {
  const book = new AddressBook();
  book.tell(["a.example", "edge.example"], { addresses: ["192.0.2.1", "192.0.2.2"], ...times });
  book.tell(["b.example"], { addresses: ["192.0.2.1"], ...times });
  const left = book.narrow((names) => names[0] === "b.example");
  assert.deepEqual([...left], [["192.0.2.1", 2000]]);
  assert.equal(book.narrow(() => false).size, 0);
});

test("new names under a wildcard cost their open part, known ones and exact ones nothing", () => {
  const budget = new NameBudget(0);
  const ask = (n: number, nowMs = 0): boolean => budget.spend(`${n}.wild.example`, 64, nowMs);
  const count = nameBudgetBytesMax / 64;
  for (let n = 0; n < count; n += 1) assert.ok(ask(n));
  assert.ok(!ask(count), "used up");
  assert.ok(ask(3), "was asked before");
  assert.ok(budget.spend("exact.example", 0, 0));
  assert.ok(ask(count, 1000), "a second brings two more");
  assert.ok(!budget.spend("x", openNameLengthMax + 1, 10_000_000), "too long at any time");
});

test("what waits is made in one go and in order, and one that is refused takes nobody along", async () => {
  const applied: string[] = [];
  const changes = new KernelChanges(async (text) => {
    if (text.includes("bad")) throw new Error("refused");
    applied.push(text);
  });
  const results = await Promise.allSettled(
    ["a", "b", "bad", "c"].map((text) => changes.make(text)),
  );
  assert.deepEqual(
    results.map(({ status }) => status),
    ["fulfilled", "fulfilled", "rejected", "fulfilled"],
  );
  assert.deepEqual(applied, ["a", "b", "c"]);
  await Promise.all([changes.make("d"), changes.make("e")]);
  assert.deepEqual(applied.slice(3), ["de"]);
});
