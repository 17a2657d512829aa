import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { readSourceFiles, repositoryDirectory, type SourceFile } from "./source-files.ts";

/** One thing that the column "held by" names: a file by the end of its path, and words of a title. */
interface Holder {
  file: string;
  title: string | null;
}

/** A title in quotes belongs to the file before it. */
function holdersOf(column: string): Holder[] {
  const holders: Holder[] = [];
  for (const [, file, title] of column.matchAll(/`([\w./-]+\.ts)`|"([^"]+)"/g)) {
    if (file !== undefined) holders.push({ file, title: null });
    const last = holders.at(-1);
    if (title !== undefined && last !== undefined) holders.push({ file: last.file, title });
  }
  return holders;
}

function problemOf({ file, title }: Holder, files: readonly SourceFile[]): string | null {
  const found = files.filter(({ path }) => path === file || path.endsWith(`/${file}`));
  if (found.length === 0) return `${file}: no such file`;
  if (title === null) return null;
  // A long title is broken over lines, with other quotes.
  const words = (text: string): string => text.replaceAll(/[\s"'`\\]+/g, " ");
  const isNamed = found.some(({ text }) => words(text).includes(words(title)));
  return isNamed ? null : `${file}: no test is titled "${title}"`;
}

const rows = readFileSync(join(repositoryDirectory, "SPECIFICATION.md"), "utf8")
  .split("\n## Figures")[0]
  ?.split("\n")
  .filter((line) => line.startsWith("| ") && !/\| (?:held by|what) \|/.test(line));

test("the tests that SPECIFICATION.md names are there, by file and by title", () => {
  const files = readSourceFiles();
  const problems = (rows ?? [])
    .flatMap((row) => holdersOf(row.split(" | ").slice(1).join(" | ")))
    .map((holder) => problemOf(holder, files))
    .filter((problem) => problem !== null);
  assert.deepEqual(problems, []);
});

test("every promise names what holds it", () => {
  const unheld = (rows ?? []).filter(
    (row) => !/`(?:make )?[\w./-]+`/.test(row.split(" | ").slice(1).join(" | ")),
  );
  assert.ok((rows ?? []).length > 100);
  assert.deepEqual(unheld, []);
});

test("a missing file and a missing title are found", () => {
  const files = [{ path: "test/a.root.test.ts", text: 'test("goes\n on", f)' }];
  const found = holdersOf('`a.root.test.ts` "goes on", "stops", `b.test.ts` (see `make test`)');
  assert.deepEqual(
    found.map((holder) => problemOf(holder, files)),
    [null, null, 'a.root.test.ts: no test is titled "stops"', "b.test.ts: no such file"],
  );
});
