import assert from "node:assert/strict";
import { test } from "node:test";

import { planPhases } from "./test-phases.ts";

const files = ["src/a.test.ts", "src/b.root.test.ts", "src/c.fs.test.ts", "test/d.test.ts"];

test("what needs the machine for itself runs alone, after the rest", () => {
  assert.deepEqual(
    planPhases([...files, "test/agent-death.root.test.ts"], "").map(
      ({ name, files: chosen, concurrency }) => [name, chosen, concurrency > 1],
    ),
    [
      ["unit", ["src/a.test.ts", "src/c.fs.test.ts"], true],
      ["root", ["src/b.root.test.ts", "test/d.test.ts"], true],
      ["alone", ["test/agent-death.root.test.ts"], false],
    ],
  );
});

test("what only computes does so beside the rest, from the beginning", () => {
  const worlds = "src/storage/volume/simulation/worlds.fs.test.ts";
  assert.deepEqual(
    planPhases([...files, worlds], "").map(({ name, files: chosen, isBeside }) => {
      return [name, chosen.includes(worlds), isBeside ?? false];
    }),
    [
      ["simulation", true, true],
      ["unit", false, false],
      ["root", false, false],
    ],
  );
});

test("what mostly waits does so more at a time than there are cores", () => {
  const phases = planPhases([...files, "test/takeover.root.test.ts"], "");
  assert.deepEqual(phases.map(({ name, concurrency }) => [name, concurrency]).slice(1), [
    ["waiting", 4],
    ["root", 2],
  ]);
});

test("a pattern chooses files by their path", () => {
  assert.deepEqual(
    planPhases(files, "b.root").map((phase) => phase.files),
    [["src/b.root.test.ts"]],
  );
  assert.deepEqual(planPhases(files, "nothing"), []);
});
