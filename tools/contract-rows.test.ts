import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { isTestFile, readSourceFiles, repositoryDirectory } from "./source-files.ts";

const page = readFileSync(join(repositoryDirectory, "docs/contract-rows.md"), "utf8");
const rows = [...page.matchAll(/^\| (\d+\.\d+) \|/gm)].map((match) => match[1] ?? "");

/** Rows that the titles of tests name; a title may name several. */
function namedRows(text: string): string[] {
  const titles = text.matchAll(/\b(?:test|it|describe)\(\s*(["'`])((?:(?!\1).)*)\1/gs);
  return [...titles].flatMap(([, , title = ""]) =>
    [...title.matchAll(/\bcontract (\d+\.\d+)\b/g)].map((match) => match[1] ?? ""),
  );
}

const named = new Set(
  readSourceFiles()
    .filter(({ path }) => isTestFile(path))
    .flatMap(({ text }) => namedRows(text)),
);

test("the page has both sections' rows, each once and in order", () => {
  const counted = (section: number, count: number): string[] =>
    Array.from({ length: count }, (_, index) => `${section}.${index + 1}`);
  assert.deepEqual(rows, [...counted(15, 21), ...counted(16, 17)]);
});

test("every row has a test that names it", () => {
  assert.deepEqual(
    rows.filter((row) => !named.has(row)),
    [],
  );
});

test("no test names a row that is none", () => {
  // Tests may name other sections as well, which have no rows here.
  const ofThese = [...named].filter((row) => /^1[56]\./.test(row));
  assert.deepEqual(
    ofThese.filter((row) => !rows.includes(row)),
    [],
  );
});

test("titles are found however they are quoted and broken", () => {
  const text =
    'test("contract 15.1, contract 16.2: x", f); test(\n  `contract 15.3: y`, f); // contract 15.4';
  assert.deepEqual(namedRows(text), ["15.1", "16.2", "15.3"]);
});
