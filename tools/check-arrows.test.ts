import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { arrows, findForbiddenImports } from "./check-arrows.ts";
import { repositoryDirectory } from "./source-files.ts";

const check = (path: string, text: string): string[] => findForbiddenImports([{ path, text }]);

test("an import along an arrow passes", () => {
  assert.deepEqual(
    check("src/agent/main.ts", 'import { a } from "../storage/volume/volume.ts";'),
    [],
  );
  assert.deepEqual(
    check("src/worker/w.ts", 'import { a } from "../storage/volume/open-volume.ts";'),
    [],
  );
  assert.deepEqual(check("src/cli/c.ts", 'import { hono } from "hono";'), []);
});

test("an import against the arrows is named with its line", () => {
  const problems = check("src/storage/s.ts", '\nimport { a } from "../agent/main.ts";');
  assert.equal(problems.length, 1);
  assert.match(
    problems[0] ?? "",
    /^src\/storage\/s\.ts:2: "storage" may not import src\/agent\/main\.ts/,
  );
});

test("only what the table opens of another room may be imported", () => {
  assert.equal(check("src/worker/w.ts", 'import { a } from "../agent/main.ts";').length, 1);
  assert.equal(check("src/control/c.ts", 'export * from "../worker/places.ts";').length, 1);
  assert.equal(check("src/cli/c.ts", 'const a = await import("../control/tokens.ts");').length, 1);
});

test("the product may not import tests, tools or an unknown room", () => {
  assert.equal(check("src/agent/a.ts", 'import { a } from "../../tools/tidy.ts";').length, 1);
  assert.equal(check("src/attic/a.ts", 'import { a } from "../agent/main.ts";').length, 1);
});

test("test helpers of src/testing are for tests", () => {
  assert.deepEqual(check("src/agent/a.test.ts", 'import { a } from "../testing/tiny.ts";'), []);
  assert.equal(check("src/agent/a.ts", 'import { a } from "../testing/tiny.ts";').length, 1);
});

test("every room in the table of ARCHITECTURE.md has its arrows here", () => {
  const text = readFileSync(join(repositoryDirectory, "ARCHITECTURE.md"), "utf8");
  const section = text.slice(text.indexOf("## 2. Rooms"), text.indexOf("## 3."));
  const rooms = [...section.matchAll(/^\| (`.+?`) \|/gm)].flatMap((row) =>
    [...(row[1] ?? "").matchAll(/`([^`]+?)(?:\.ts)?`/g)].map((match) => match[1] ?? ""),
  );
  assert.ok(rooms.length >= 8);
  for (const room of rooms)
    assert.ok(room in arrows, `${room} is missing in tools/check-arrows.ts`);
});

test("every room has a README of at most 20 lines", () => {
  const source = join(repositoryDirectory, "src");
  const rooms = readdirSync(source, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  for (const { name } of rooms) {
    const text = readFileSync(join(source, name, "README.md"), "utf8");
    assert.ok(text.startsWith(`# ${name}\n`), name);
    assert.ok(text.split("\n").length <= 21, name);
  }
});
