/** The rules of style that neither compiler nor linter knows. */
import { readModule } from "./imports.ts";
import { isTestFile, readSourceFiles, reportProblems, type SourceFile } from "./source-files.ts";

const codeLineLengthMax = 110;
/** Comments and texts in quotes are prose, which breaks where it reads well, or cannot break. */
const proseLineLengthMax = 140;
const fileLinesMax = 600;

/** Files that may be longer, each with its reason. */
const longFiles: Readonly<Record<string, string>> = {};

interface LineRule {
  pattern: RegExp;
  message: string;
  testsOnly?: boolean;
}

// Spelled apart, so that this file passes its own check.
const lineRules: readonly LineRule[] = [
  { pattern: /\t/, message: "has a tab: indent with spaces" },
  { pattern: /[ \t]+$/, message: "ends in blanks" },
  {
    pattern: new RegExp(`\\b(?:TO${"DO"}|FIX${"ME"}|X${"XX"})\\b`),
    message: "postpones work: do it, or file an issue",
  },
  // "Function not implemented" is how the C library spells ENOSYS.
  {
    pattern: new RegExp(`(?<!function )\\bnot ${"implemented"}\\b`, "i"),
    message: "admits a stub: build it whole",
  },
  {
    pattern: new RegExp(`@ts-(?:${"ignore"}|nocheck|expect-error)`),
    message: "silences the compiler",
  },
  {
    pattern:
      /\b(?:test|it|describe|suite|t)\.(?:skip|only|todo)\b|\b(?:skip|only|todo):\s*(?:true|["'`])/,
    message: "skips tests: run all of them, or delete the test",
    testsOnly: true,
  },
];

export function findUntidiness(files: readonly SourceFile[]): string[] {
  return files.flatMap((file) => [...checkFile(file), ...checkLines(file)]);
}

function checkFile(file: SourceFile): string[] {
  const problems: string[] = [];
  const name = file.path.split("/").at(-1) ?? "";
  const lineCount = file.text.split("\n").length - 1;
  if (!/^[a-z0-9-]+(?:\.[a-z0-9]+)*\.ts$/.test(name))
    problems.push(`${file.path}:1: is not named in kebab-case`);
  if (!file.text.endsWith("\n"))
    problems.push(`${file.path}:${lineCount + 1}: has no newline at its end`);
  if (lineCount > fileLinesMax && longFiles[file.path] === undefined) {
    problems.push(`${file.path}:1: has ${lineCount} lines, more than ${fileLinesMax}: split it`);
  }
  for (const { specifier, line } of readModule(file.text).imports) {
    if (specifier.startsWith(".") && !specifier.endsWith(".ts")) {
      problems.push(`${file.path}:${line}: imports "${specifier}", which does not end in .ts`);
    }
  }
  return problems;
}

function checkLines(file: SourceFile): string[] {
  const problems: string[] = [];
  for (const [index, line] of file.text.split("\n").entries()) {
    const isProse = /^\s*(?:\/\/|\/?\*)|["'`]/.test(line);
    const lengthMax = isProse ? proseLineLengthMax : codeLineLengthMax;
    const place = `${file.path}:${index + 1}`;
    if (line.length > lengthMax)
      problems.push(`${place}: has ${line.length} columns, more than ${lengthMax}`);
    for (const rule of lineRules) {
      if (rule.testsOnly === true && !isTestFile(file.path)) continue;
      if (rule.pattern.test(line)) problems.push(`${place}: ${rule.message}`);
    }
  }
  return problems;
}

if (import.meta.main) reportProblems("tidy", findUntidiness(readSourceFiles()));
