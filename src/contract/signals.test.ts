import assert from "node:assert/strict";
import test from "node:test";

import { parseSignal } from "./signals.ts";

test("signals are read with or without SIG, in any case, and as numbers", () => {
  assert.equal(parseSignal("SIGTERM"), "SIGTERM");
  assert.equal(parseSignal("term"), "SIGTERM");
  assert.equal(parseSignal("sigint"), "SIGINT");
  assert.equal(parseSignal("USR1"), "SIGUSR1");
  assert.equal(parseSignal(9), "SIGKILL");
  assert.equal(parseSignal("15"), "SIGTERM");
});

test("what is no signal is refused", () => {
  for (const value of [
    "",
    "SIG",
    "BOGUS",
    "SIGSIGTERM",
    "0",
    0,
    99,
    -9,
    1.5,
    null,
    {},
    ["SIGTERM"],
    "TERM ",
    "__proto__",
  ]) {
    assert.equal(parseSignal(value), null, JSON.stringify(value));
  }
});
