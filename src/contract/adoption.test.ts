import assert from "node:assert/strict";
import { test } from "node:test";
import { OfferState, parseOffer } from "./adoption.ts";

const of = { pid: 7, version: "1.2.3", startup: { spriteId: "s" } };

test("an offer names what is kept now, by its newest number, and the newest status", () => {
  const state = new OfferState([{ key: "fuse", descriptor: 3 }]);
  state.note({ type: "keep", key: "input-1", descriptor: 20 });
  state.note({ type: "keep", key: "input-2", descriptor: 21 });
  state.note({ type: "keep", key: "input-1", descriptor: 22 });
  state.note({ type: "release", key: "input-2" });
  state.note({ type: "ready", socketPath: "/run/agent.sock", bootMs: 1 });
  state.note({ type: "rest", rest: "frozen", because: "nothing went on" });
  const offer = parseOffer(JSON.parse(JSON.stringify(state.offer(of))));
  assert.deepEqual(offer, {
    ...{ type: "offer", protocol: 1, ...of, socketPath: "/run/agent.sock", status: "warm" },
    descriptors: [
      { key: "fuse", descriptor: 3 },
      { key: "input-1", descriptor: 22 },
    ],
  });
});

test("what is no offer of this version is none", () => {
  const whole = new OfferState([]).offer(of);
  assert.notEqual(parseOffer(whole), null);
  const others: unknown[] = [
    ...[undefined, null, 1, "offer", [], {}],
    { ...whole, protocol: 2 },
    { ...whole, pid: -1 },
    { ...whole, pid: "7" },
    { ...whole, startup: null },
    { ...whole, status: "cold" },
    { ...whole, descriptors: [{ key: "fuse", descriptor: 1.5 }] },
    { ...whole, descriptors: [null] },
    { ...whole, descriptors: [{ key: "k".repeat(201), descriptor: 1 }] },
    { ...whole, descriptors: Array.from({ length: 1_101 }, () => ({ key: "a", descriptor: 1 })) },
  ];
  for (const value of others) assert.equal(parseOffer(value), null, JSON.stringify(value));
});
