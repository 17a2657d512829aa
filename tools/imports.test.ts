import assert from "node:assert/strict";
import { test } from "node:test";

import { readModule } from "./imports.ts";

test("every form of import gives its names as the other file calls them", () => {
  const { imports } = readModule(`
    import "./side-effect.ts";
    import a, { b, type C as D } from "./one.ts";
    import * as all from "./two.ts";
    export { e as f } from "./three.ts";
    export * from "./four.ts";
    import { assert, type as kind, of } from "./contextual.ts";
    const lazy = await import("./five.ts");
    console.log(import.meta.url);
  `);
  assert.deepEqual(
    imports.map(({ specifier, names }) => [specifier, names]),
    [
      ["./side-effect.ts", []],
      ["./one.ts", ["a", "b", "C"]],
      ["./two.ts", ["*"]],
      ["./three.ts", ["e"]],
      ["./four.ts", ["*"]],
      ["./contextual.ts", ["assert", "type", "of"]],
      ["./five.ts", ["*"]],
    ],
  );
});

test("every form of export is found", () => {
  const { exports } = readModule(`
    export const a = 1;
    export async function b(): Promise<void> {}
    export function* c(): Generator {}
    export abstract class D {}
    export interface E {}
    export type F = string;
    const g = 1;
    export { g as h };
  `);
  assert.deepEqual(
    exports.map(({ name, isType }) => `${name}${isType ? " (type)" : ""}`),
    ["a", "b", "c", "D", "E (type)", "F (type)", "h"],
  );
});

test("a template's inner code is code, its text is not", () => {
  const { identifierCounts } = readModule(
    "const x = `a ${b({ c: `${d}` })} e`; const y = x / 2 / 1;",
  );
  const names = [...identifierCounts.keys()].filter((name) => name !== "const");
  assert.deepEqual(names.sort(), ["b", "c", "d", "x", "y"]);
});
