/** What the bench sets up before the first row: peers from Debian, the image, the server; and the S3 server when a row wants it. */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { ensureImage } from "../images/build.ts";
import { runCommand } from "../src/host/command.ts";
import { TestServer } from "../test/support/server.ts";
import { say, type Cleanup } from "./cleanup.ts";
import type { Bench, FarBench } from "./context.ts";
import { endServers } from "./machine.ts";
import { mount } from "./place.ts";
import { fullPlan, quickPlan } from "./plan.ts";
import { Podman } from "./podman.ts";
import type { Row } from "./report.ts";
import { BenchStore } from "./store.ts";

/** On a real disk: /tmp is often memory. */
const parentDirectory = "/var/tmp";
const installTimeoutMs = 600_000;
/** How the names of the rows begin that have podman as their peer. */
const podmanGroups = [
  "create",
  "destroy",
  "exec",
  "service",
  "checkpoint",
  "restore",
  "wake",
  "sleep",
  "read_asleep",
  "pool",
];

export interface Options {
  only: readonly string[];
  isQuick: boolean;
  asMarkdown: boolean;
}

export async function prepare(
  options: Options,
  state: { cleanup: Cleanup; rows: Row[] },
): Promise<Bench> {
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
  /** Also when only one row of it is wanted. */
  const wantsGroup = (groups: readonly string[]): boolean =>
    only.length === 0 ||
    only.some((word) => groups.some((group) => word.startsWith(group) || group.startsWith(word)));
  const emit = (row: Row): void => {
    rows.push(row);
    if (!options.asMarkdown) process.stdout.write(`${JSON.stringify(row)}\n`);
    say(`${row.name}: p50 ${row.p50} ${row.unit}, ratio ${row.ratio}`);
  };
  const plan = options.isQuick ? quickPlan : fullPlan;
  const peer = wantsGroup(podmanGroups)
    ? await preparePodman({ directory: join(directory, "podman"), imageMount, cleanup })
    : { podman: null, podmanNote: null };
  const far = memoized(() => startFar({ directory, cleanup }));
  return { plan, cleanup, directory, imageMount, server, far, ...peer, wants, wantsGroup, emit };
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

/** The server on the S3 server, with the image in its bucket. */
async function startFar(options: { directory: string; cleanup: Cleanup }): Promise<FarBench> {
  const { directory, cleanup } = options;
  const store = await BenchStore.start(cleanup);
  say("starting the server on it, which stores the image");
  const dataDirectory = join(directory, "data-far");
  const words = ["--bucket", store.url];
  const server = await TestServer.start({ dataDirectory, image: "bench", arguments: words });
  cleanup.add("stop the server on the S3 server", () => server.close());
  return { store, server };
}

function memoized<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | null = null;
  return () => (made ??= make());
}
