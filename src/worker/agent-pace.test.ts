import assert from "node:assert/strict";
import { test } from "node:test";
import { AgentPace } from "./agent-pace.ts";

test("an agent that lived is replaced, however often", () => {
  const pace = new AgentPace();
  for (let death = 0; death < 100; death++) assert.equal(pace.next(1_500), "take_over");
});

test("agents that cannot live are replaced three times, start anew twice, and then no more", () => {
  const pace = new AgentPace();
  const ends = [null, 10, null, null, 50, null].map((livedMs) => pace.next(livedMs));
  const takeovers = Array.from({ length: 3 }, () => "take_over");
  assert.deepEqual(ends, [...takeovers, "start_anew", "start_anew", "give_up"]);
});

test("a life in between makes up for short ones", () => {
  const pace = new AgentPace();
  pace.next(null);
  pace.next(null);
  assert.equal(pace.next(60_000), "take_over");
  assert.equal(pace.next(null), "take_over");
});
