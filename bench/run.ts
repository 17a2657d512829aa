/**
 * `make bench`: measurements beside their peers, in one run on one machine.
 *
 *   bin/node24 bench/run.ts [--only NAME,...] [--quick] [--markdown]
 *
 * Standard output: one JSON object a line (docs in bench/README.md), or with --markdown one table. All else goes to the standard
 * error. `--only disk,exec` takes every row whose name starts with one of the words. Exit code 1 when a row could not be measured;
 * a missed target is a result, not an error.
 */
import { parseArgs } from "node:util";
import { checkpointSizes, runCheckpoints } from "./checkpoints.ts";
import { Cleanup, say } from "./cleanup.ts";
import { runCold } from "./cold.ts";
import type { Bench } from "./context.ts";
import { runDisk } from "./disk.ts";
import { runFiles } from "./files.ts";
import { runFsync } from "./fsync.ts";
import { killChildren } from "./machine.ts";
import { runCreate, runExec, runServerStart } from "./life.ts";
import { runPause } from "./pause.ts";
import { runPeers } from "./peers.ts";
import { prepare, type Options } from "./prepare.ts";
import { markdownTable, type Row } from "./report.ts";
import { runTunnel } from "./tunnel.ts";
import { runReadingAsleep } from "./reading-asleep.ts";
import { runSleep } from "./sleep.ts";
import { runPool } from "./pool.ts";
import { runServices } from "./services.ts";
import { runStorage } from "./storage.ts";
import { runUrl } from "./url.ts";

/** Set in the process that has a mount namespace of its own. */
const namespaceVariable = "OPENSPRITES_BENCH_NAMESPACE";
function parseOptions(): Options {
  const { values } = parseArgs({
    options: {
      only: { type: "string", default: "" },
      quick: { type: "boolean", default: false },
      markdown: { type: "boolean", default: false },
    },
  });
  const only = values.only.split(",").filter((word) => word !== "");
  return { only, isQuick: values.quick, asMarkdown: values.markdown };
}

/** Our mounts vanish with our processes, even when those are killed. */
function enterMountNamespace(): void {
  if (process.env[namespaceVariable] !== undefined) return;
  process.execve?.(
    "/usr/bin/unshare",
    [
      ...["unshare", "--mount", "--propagation", "private", process.execPath],
      ...["--disable-warning=ExperimentalWarning", ...process.argv.slice(1)],
    ],
    { ...process.env, [namespaceVariable]: "1" },
  );
}

async function main(options: Options): Promise<void> {
  const cleanup = new Cleanup();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      say(`${signal}: cleaning up`);
      // A command that still runs would write into what is being removed.
      void killChildren()
        .then(() => cleanup.run())
        .then(() => process.exit(130));
    });
  }
  const startedAtMs = performance.now();
  const rows: Row[] = [];
  try {
    const bench = await prepare(options, { cleanup, rows });
    await runSuites(bench);
  } finally {
    await cleanup.run();
  }
  if (options.asMarkdown) process.stdout.write(`${markdownTable(rows)}\n`);
  summarizeTargets(rows, (performance.now() - startedAtMs) / 1000);
}

async function runSuites(bench: Bench): Promise<void> {
  await runCreate(bench);
  await runExec(bench);
  await runSleep(bench);
  await runReadingAsleep(bench);
  await runPool(bench);
  await runFiles(bench);
  await runTunnel(bench);
  await runUrl(bench);
  await runServices(bench);
  await runServerStart(bench);
  await runPause(bench);
  await runDisk(bench);
  await runStorage(bench);
  await runPeers(bench);
  await runCold(bench);
  await runFsync(bench);
  for (const size of checkpointSizes) await runCheckpoints(bench, size);
}

function summarizeTargets(rows: readonly Row[], seconds: number): void {
  const missed = rows.filter((row) => row.met === false);
  const reached = rows.filter((row) => row.met === true).length;
  say(`${rows.length} rows in ${seconds.toFixed(0)} s; ${reached} targets reached`);
  for (const row of missed) {
    say(`missed: ${row.name} p50 ${row.p50} ${row.unit}, ratio ${row.ratio} (${row.target})`);
  }
  if (rows.some((row) => row.p50 === null)) process.exitCode = 1;
}

enterMountNamespace();
await main(parseOptions()).catch((error: unknown) => {
  say(error instanceof Error ? (error.stack ?? error.message) : String(error));
  process.exitCode = 1;
});
