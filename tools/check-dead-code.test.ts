import assert from "node:assert/strict";
import { test } from "node:test";

import { findDeadCode } from "./check-dead-code.ts";

const entry = "node src/main.ts";
const main = (text: string): { path: string; text: string } => ({ path: "src/main.ts", text });

test("what a program imports is alive", () => {
  const files = [
    main('import { used, type Shape } from "./a.ts"; used();'),
    {
      path: "src/a.ts",
      text: "export interface Shape { a: 1 }\nexport const used = (): void => {};",
    },
  ];
  assert.deepEqual(findDeadCode(files, entry), []);
});

test("an export that nobody imports is found, with its line", () => {
  const files = [
    main('import { used } from "./a.ts"; used();'),
    { path: "src/a.ts", text: "export const used = 1;\nexport function unused(): void {}" },
  ];
  assert.deepEqual(findDeadCode(files, entry), [
    "src/a.ts:2: unused is exported, but nobody uses it",
  ]);
});

test("an export used in its own file alone need not be one", () => {
  const files = [main("export const a = 1;\nconst b = a;")];
  assert.deepEqual(findDeadCode(files, entry), [
    "src/main.ts:1: a is exported, but only this file uses it",
  ]);
});

test("a unit test keeps nothing alive", () => {
  const files = [
    main(""),
    { path: "src/a.ts", text: "export const a = 1;" },
    { path: "src/a.test.ts", text: 'import { a } from "./a.ts";' },
  ];
  assert.deepEqual(findDeadCode(files, entry), [
    "src/a.ts:1: a is used by its tests only",
    "src/a.ts:1: no program reaches this file (tests beside the code do not count)",
  ]);
});

test("a file that a program names in a string is reached", () => {
  const files = [
    main('const child = new URL("./agent/child.ts", import.meta.url);'),
    { path: "src/agent/child.ts", text: "process.exit(0);" },
  ];
  assert.deepEqual(findDeadCode(files, entry), []);
});

test("names in comments, strings and regular expressions are no use", () => {
  const files = [
    main(
      'import { used } from "./a.ts"; // lost()\nconst r = /import { lost } from "x"/; used(`${r} lost`);',
    ),
    {
      path: "src/a.ts",
      text: "export const used = (a: string): string => a;\nexport const lost = 1;",
    },
  ];
  assert.deepEqual(findDeadCode(files, entry), [
    "src/a.ts:2: lost is exported, but nobody uses it",
  ]);
});
