/**
 * `make doctor`: whether this machine can run sprites, and how well they will be isolated. Changes
 * nothing. Exits 1 only if something fails; a warning lets sprites run.
 *
 *   bin/node24 tools/doctor.ts [--json]
 */
import { parseArgs } from "node:util";

import type { RuntimeName } from "../src/contract/agent-startup.ts";
import type { Finding, Level } from "./doctor/finding.ts";
import { checkKernel } from "./doctor/kernel-checks.ts";
import { checkMachine } from "./doctor/machine-checks.ts";
import { checkRuntime } from "./doctor/runtime-checks.ts";

const settings = {
  dataDirectory: process.env["SPRITES_DATA"] ?? "/var/lib/opensprites",
  imageCacheDirectory: "/var/cache/opensprites",
  listen: process.env["SPRITES_LISTEN"] ?? "127.0.0.1:7777",
};

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { json: { type: "boolean", default: false } } });
  const [kernel, runtime, machine] = await Promise.all([
    checkKernel(),
    checkRuntime(process.env["SPRITES_RUNTIME"] ?? null),
    checkMachine(settings),
  ]);
  const findings = [...kernel, runtime.finding, ...machine];
  const isolation = describeIsolation(runtime.runtime);
  const fails = findings.filter((finding) => finding.level === "fail").length;
  if (values.json) {
    process.stdout.write(`${JSON.stringify({ ok: fails === 0, findings, isolation })}\n`);
  } else {
    printFindings(findings);
    process.stdout.write(`\nisolation: ${isolation}\n`);
    if (fails > 0)
      process.stdout.write(
        `\n${fails} of ${findings.length} checks failed: sprites cannot run here yet\n`,
      );
  }
  if (fails > 0) process.exitCode = 1;
}

function printFindings(findings: readonly Finding[]): void {
  const marks: Readonly<Record<Level, string>> = { ok: "ok  ", warn: "warn", fail: "FAIL" };
  const colors: Readonly<Record<Level, string>> = { ok: "32", warn: "33", fail: "31" };
  const isColored = process.stdout.isTTY && process.env["NO_COLOR"] === undefined;
  for (const { name, level, found, advice } of findings) {
    const mark = isColored ? `\x1b[${colors[level]}m${marks[level]}\x1b[0m` : marks[level];
    process.stdout.write(`${mark} ${name.padEnd(16)} ${found}\n`);
    if (advice !== undefined) process.stdout.write(`     ${"".padEnd(16)} -> ${advice}\n`);
  }
}

/** Said plainly, since a silent fall-back to weaker isolation is what users find out too late. */
function describeIsolation(runtime: RuntimeName | null): string {
  if (runtime === null) return "none: no sprite can start without a runtime";
  const common =
    "its own user, pid, mount, network, ipc, uts and cgroup namespaces; a seccomp filter; " +
    "root inside is nobody outside";
  if (runtime === "runsc") return `gVisor (runsc), a kernel of its own in user space; ${common}.`;
  return (
    `${runtime}; ${common}.\n` +
    "Sprites share this machine's kernel: a container's isolation, not a virtual machine's.\n" +
    "For code of people you do not trust, give the server a machine of its own."
  );
}

await main();
