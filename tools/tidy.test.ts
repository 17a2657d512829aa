import assert from "node:assert/strict";
import { test } from "node:test";

import { findUntidiness } from "./tidy.ts";

const check = (text: string, path = "src/a.ts"): string[] => findUntidiness([{ path, text }]);

test("tidy code passes", () => {
  assert.deepEqual(check("const a = 1;\n"), []);
});

test("each kind of untidiness is found", () => {
  const cases: [text: string, message: RegExp, path?: string][] = [
    [`const a = ${"b + ".repeat(27)}c;\n`, /more than 110/],
    [`const a = "${"x".repeat(140)}";\n`, /more than 140/],
    [`// ${"x".repeat(140)}\n`, /more than 140/],
    ["\tconst a = 1;\n", /tab/],
    ["const a = 1; \n", /ends in blanks/],
    ["const a = 1;", /no newline/],
    [`// ${"TO"}DO: later\n`, /postpones/],
    [`throw new Error("not ${"implemented"}");\n`, /stub/],
    [`// @ts-${"ignore"}\n`, /silences/],
    ["const a = 1;\n".repeat(601), /split it/],
    ['import { a } from "./b";\n', /does not end in \.ts/],
    ["\n", /kebab-case/, "src/camelCase.ts"],
    [`test.${"skip"}("a", () => {});\n`, /skips tests/, "src/a.test.ts"],
    [`test("a", { ${"skip"}: true }, () => {});\n`, /skips tests/, "src/a.test.ts"],
  ];
  for (const [text, message, path] of cases) {
    const problems = check(text, path);
    assert.equal(problems.length, 1, `${message} in ${problems.join("; ")}`);
    assert.match(problems[0] ?? "", message);
  }
});
