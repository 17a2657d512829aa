import assert from "node:assert/strict";
import { test } from "node:test";
import { nameOf, type CommandSpec } from "./command-spec.ts";
import { commandTable } from "./command-table.ts";

function leaves(specs: readonly CommandSpec[], path = "sprite"): [string, CommandSpec][] {
  return specs.flatMap((spec) => {
    const here = `${path} ${nameOf(spec)}`;
    const own: [string, CommandSpec][] = spec.load === undefined ? [] : [[here, spec]];
    return [...own, ...leaves(spec.children ?? [], here)];
  });
}

test("every command has an example that calls it, and a manual that fits a terminal", () => {
  for (const [path, spec] of leaves(commandTable)) {
    const lines = (spec.examples ?? []).map(([line]) => line);
    const words = path.split(" ").slice(1);
    const isCalled = lines.some((line) =>
      words.every((word) => line.split(/[ $(]+/).includes(word)),
    );
    assert.ok(isCalled, `${path} has no example`);
    const text = [spec.details ?? "", ...lines].join("\n");
    for (const line of text.split("\n")) assert.ok(line.length <= 80, `${path}: ${line}`);
    assert.ok(spec.description.length <= 60, `${path}: ${spec.description}`);
  }
});

test("no two commands of a place share a name", () => {
  const check = (specs: readonly CommandSpec[]): void => {
    const names = specs.flatMap((spec) => [nameOf(spec), ...(spec.aliases ?? [])]);
    assert.deepEqual(names.toSorted(), [...new Set(names)].toSorted());
    for (const spec of specs) check(spec.children ?? []);
  };
  check(commandTable);
});

test("every command's code is there", async () => {
  for (const [path, spec] of leaves(commandTable)) {
    assert.equal(typeof (await spec.load?.()), "function", path);
  }
});
