/**
 * `make bench`: measurements beside their peers, in one run on one machine.
 *
 *   bin/node24 bench/run.ts [--only NAME,...] [--quick] [--markdown]
 *
 * Standard output: one JSON object a line (docs in bench/README.md), or with --markdown one table. All else goes to the standard
 * error. `--only disk,exec` takes every row whose name starts with one of the words. Exit code 1 when a row could not be measured;
 * a missed target is a result, not an error.
 */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ensureImage } from "../images/build.ts";
import { runCommand } from "../src/host/command.ts";
import { spriteCacheDirectory } from "../src/worker/places.ts";
import { TestServer } from "../test/support/server.ts";
import { checkpointSizes, runCheckpoints } from "./checkpoints.ts";
import { Cleanup, say } from "./cleanup.ts";
import { backgroundPids, createSprite, type Bench } from "./context.ts";
import { runDisk } from "./disk.ts";
import { endServers, hostDiskName, killChildren } from "./machine.ts";
import { runCreate, runExec, runMemory, runServerStart } from "./life.ts";
import { ensureMaterials } from "./materials.ts";
import { ChrootPlace, mount, SpritePlace } from "./place.ts";
import { fullPlan, quickPlan } from "./plan.ts";
import { runPause } from "./pause.ts";
import { Podman } from "./podman.ts";
import { failedRow, markdownTable, type Row } from "./report.ts";
import { mountS3backer } from "./s3backer.ts";

/** Set in the process that has a mount namespace of its own. */
const namespaceVariable = "OPENSPRITES_BENCH_NAMESPACE";
/** On a real disk: /tmp is often memory. */
const parentDirectory = "/var/tmp";
const installTimeoutMs = 600_000;
/** How the names of the rows begin that have podman as their peer. */
const podmanGroups = ["create", "destroy", "exec", "checkpoint", "restore"];

interface Options {
  only: string[];
  isQuick: boolean;
  asMarkdown: boolean;
}

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

async function prepare(options: Options, state: { cleanup: Cleanup; rows: Row[] }): Promise<Bench> {
  const { cleanup, rows } = state;
  await runCommand(join(import.meta.dirname, "install-peers.sh"), [], {
    ...{ deadlineMs: installTimeoutMs, environment: process.env as Record<string, string> },
  });
  const image = await ensureImage("bench", { log: { info: say } });
  const directory = await mkdtemp(join(parentDirectory, "opensprites-bench-"));
  cleanup.add(`remove ${directory}`, async () => {
    await endServers();
    // What a killed command still had in its hands may appear a moment later.
    await rm(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 300 });
  });
  const imageMount = join(directory, "image");
  await mkdir(imageMount);
  await mount(["-t", "erofs", "-o", "loop,ro", image.path, imageMount], {
    ...{ at: imageMount, cleanup },
  });

  say("starting the server");
  const server = await TestServer.start({ dataDirectory: join(directory, "data"), image: "bench" });
  cleanup.add("stop the server", () => server.close());

  const { only } = options;
  const wants = (name: string): boolean =>
    only.length === 0 || only.some((word) => name.startsWith(word));
  const emit = (row: Row): void => {
    rows.push(row);
    if (!options.asMarkdown) process.stdout.write(`${JSON.stringify(row)}\n`);
    say(`${row.name}: p50 ${row.p50} ${row.unit}, ratio ${row.ratio}`);
  };
  const plan = options.isQuick ? quickPlan : fullPlan;
  const needsPodman =
    only.length === 0 || only.some((word) => podmanGroups.some((group) => word.startsWith(group)));
  const peer = needsPodman
    ? await preparePodman({ directory: join(directory, "podman"), imageMount, cleanup })
    : { podman: null, podmanNote: null };
  const wantsDisk = only.length === 0 || only.some((word) => /^(disk|s3backer|agent)/.test(word));
  return { plan, cleanup, directory, imageMount, server, ...peer, wants, wantsDisk, emit };
}

async function preparePodman(
  options: Parameters<typeof Podman.prepare>[0],
): Promise<Pick<Bench, "podman" | "podmanNote">> {
  say("importing the image into podman");
  try {
    return { podman: await Podman.prepare(options), podmanNote: null };
  } catch (error) {
    const podmanNote = `podman does not run here: ${(error as Error).message}`;
    say(podmanNote);
    return { podman: null, podmanNote };
  }
}

async function runSuites(bench: Bench): Promise<void> {
  await runCreate(bench);
  await runExec(bench);
  await runServerStart(bench);
  await runPause(bench);
  await runDiskSuite(bench);
  for (const size of checkpointSizes(bench)) await runCheckpoints(bench, size);
}

async function runDiskSuite(bench: Bench): Promise<void> {
  if (!bench.wantsDisk) return;
  const { cleanup, directory, imageMount } = bench;
  const sprite = await createSprite(bench);
  await sprite.execFile("true");
  await runMemory(bench, "agent_rss_mb");
  try {
    const host = await ChrootPlace.mount({
      ...{
        name: await hostDiskName(directory),
        imageMount,
        directory: join(directory, "host"),
        cleanup,
      },
    });
    await runDisk({
      plan: bench.plan,
      sprite: new SpritePlace(sprite),
      host,
      s3backer: await s3backerOrNull(bench),
      materials: await ensureMaterials(),
      agentPids: await backgroundPids(bench),
      cacheFile: join(spriteCacheDirectory(bench.server.places, sprite.id ?? ""), "blocks"),
      directory,
      wants: bench.wants,
      emit: bench.emit,
    });
    await runMemory(bench, "agent_rss_after_disk_mb");
  } catch (error) {
    bench.emit(failedRow("disk.preparation", "ms", error));
  }
  await sprite.delete();
}

async function s3backerOrNull(bench: Bench): Promise<ChrootPlace | null> {
  const { cleanup, directory, imageMount } = bench;
  try {
    return await mountS3backer({ directory: join(directory, "s3backer"), imageMount, cleanup });
  } catch (error) {
    bench.emit(failedRow("s3backer.mount", "ms", error));
    return null;
  }
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
