/** Rows about sleep: how long a sprite takes to wake and to go cold, many at once, and what memory each state costs. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { waitUntil } from "../src/base/wait.ts";
import { memoryOf, residentMb } from "../test/support/footprint.ts";
import { childrenOf } from "../test/support/processes.ts";
import { TestServer } from "../test/support/server.ts";
import { podmanPeer, type Bench } from "./context.ts";
import { guarded, timeMs } from "./life.ts";
import { LxcContainer } from "./lxc.ts";
import { rowOf } from "./report.ts";
import { quantile } from "./statistics.ts";

const times = ["wake_warm", "wake_warm_lxc", "wake_cold", "sleep_cold"] as const;
const memories = ["memory_running_mb", "memory_warm_mb", "memory_cold_mb"] as const;
const storm = "wake_storm";
const stateTimeoutMs = 60_000;

export async function runSleep(bench: Bench): Promise<void> {
  const names = [...times, ...memories, storm];
  if (!names.some(bench.wants)) return;
  const dataDirectory = join(bench.directory, "data-sleep");
  // A short window, so that there is something to be woken.
  const words = ["--idle-window", "500ms", "--warm-time", "off"];
  const server = await TestServer.start({ dataDirectory, image: "bench", arguments: words });
  bench.cleanup.add("stop the server whose sprites sleep", () => server.close());
  const beds = new Beds(server);
  await guarded(bench, times, "ms", () => runWakes(bench, beds));
  await guarded(bench, [storm], "ms", () => runStorm(bench, beds));
  await guarded(bench, memories, "MB", () => runMemories(bench, beds));
  await server.close();
}

/** The sprites of that server, by what they do. */
class Beds {
  readonly server: TestServer;

  constructor(server: TestServer) {
    this.server = server;
  }

  async make(name: string): Promise<void> {
    await this.server.client().createSprite(name);
  }

  /** One request of the API, until its answer has come whole. */
  async run(name: string): Promise<void> {
    const path = `/v1/sprites/${name}/exec?cmd=true`;
    const answer = await this.server.request(path, { method: "POST" });
    await answer.arrayBuffer();
    if (answer.status !== 200) throw new Error(`${name} answered ${answer.status}`);
  }

  async sleep(name: string): Promise<void> {
    const answer = await this.server.request(`/v1/sprites/${name}/sleep?force=true`, {
      method: "POST",
    });
    if (answer.status !== 200) throw new Error(await answer.text());
    await answer.arrayBuffer();
  }

  async untilWarm(name: string): Promise<void> {
    const isWarm = async (): Promise<boolean> => {
      const answer = await this.server.request(`/v1/sprites/${name}`);
      return ((await answer.json()) as { status: string }).status === "warm";
    };
    if (await waitUntil(isWarm, { timeoutMs: stateTimeoutMs, intervalMs: 50 })) return;
    throw new Error(`${name} does not become warm`);
  }
}

/** In turns with the peers, so that all meet the same machine. */
async function runWakes(bench: Bench, beds: Beds): Promise<void> {
  if (!times.some(bench.wants)) return;
  const own = { wake: [] as number[], cold: [] as number[], sleep: [] as number[] };
  const peer = {
    unpause: [] as number[],
    start: [] as number[],
    stop: [] as number[],
    lxc: [] as number[],
  };
  await beds.make("sleeper");
  await beds.run("sleeper");
  const { podman } = bench;
  const container = podman === null ? null : await podman.start();
  const lxc = await LxcContainer.start(bench);
  for (let round = 0; round < bench.plan.wakeRounds; round++) {
    await beds.untilWarm("sleeper");
    const wokenMs = await timeMs(() => beds.run("sleeper"));
    const awakeMs = await timeMs(() => beds.run("sleeper"));
    // What the command itself takes is no part of the wake.
    own.wake.push(Math.max(0.1, wokenMs - awakeMs));
    own.sleep.push(await timeMs(() => beds.sleep("sleeper")));
    own.cold.push(await timeMs(() => beds.run("sleeper")));
    if (podman !== null && container !== null) {
      await podman.pause(container);
      peer.unpause.push(await timeMs(() => podman.unpause(container)));
      peer.stop.push(await timeMs(() => podman.stop(container)));
      peer.start.push(
        await timeMs(async () => {
          await podman.restart(container);
          await podman.exec(container, ["true"]);
        }),
      );
    }
    if (typeof lxc !== "string") {
      await lxc.freeze();
      peer.lxc.push(await timeMs(() => lxc.unfreeze()));
    }
  }
  if (container !== null) await podman?.remove(container);
  const rows = [
    ["wake_warm", own.wake, peer.unpause],
    ["wake_cold", own.cold, peer.start],
    ["sleep_cold", own.sleep, peer.stop],
  ] as const;
  for (const [name, samples, others] of rows) {
    bench.emit(rowOf({ name, unit: "ms", samples, ...podmanPeer(bench, others) }));
  }
  const lxcPeer =
    typeof lxc === "string" ? { note: lxc } : { peer: { name: "lxc-unfreeze", samples: peer.lxc } };
  bench.emit(rowOf({ name: "wake_warm_lxc", unit: "ms", samples: own.wake, ...lxcPeer }));
}

/** All asked for in the same moment; how long each waits. */
async function runStorm(bench: Bench, beds: Beds): Promise<void> {
  if (!bench.wants(storm)) return;
  const names = Array.from({ length: bench.plan.stormSprites }, (_, index) => `storm-${index}`);
  const { podman } = bench;
  const containers: string[] = [];
  for (const name of names) {
    await beds.make(name);
    await beds.sleep(name);
    if (podman === null) continue;
    const container = await podman.start();
    await podman.stop(container);
    containers.push(container);
  }
  const samples = await eachMs(names, (name) => beds.run(name));
  await Promise.all(names.map((name) => beds.sleep(name)));
  const peer =
    podman === null
      ? []
      : await eachMs(containers, async (container) => {
          await podman.restart(container);
          await podman.exec(container, ["true"]);
        });
  for (const container of containers) await podman?.remove(container);
  const ownMs = quantile(samples, 0.99);
  const note = `${names.length} at once: p99 ${ownMs.toFixed(0)} ms, podman's ${quantile(peer, 0.99).toFixed(0)} ms`;
  bench.emit(rowOf({ name: storm, unit: "ms", samples, ...podmanPeer(bench, peer), note }));
}

/** From one common beginning. */
async function eachMs<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<number[]> {
  const startedAtMs = performance.now();
  return await Promise.all(
    items.map(async (item) => {
      await work(item);
      return performance.now() - startedAtMs;
    }),
  );
}

/** Proportional shares: what agents have in common is counted once. */
async function runMemories(bench: Bench, beds: Beds): Promise<void> {
  if (!memories.some(bench.wants)) return;
  const { server } = beds;
  const names = Array.from({ length: bench.plan.memorySprites }, (_, index) => `memory-${index}`);
  const sizeNow = async (): Promise<number[]> => {
    const agents = await childrenOf(server.places, "sprite");
    const sizes = await Promise.all(agents.map(({ pid }) => memoryOf(pid)));
    return sizes.map(({ agentMb, guestMb }) => agentMb + guestMb);
  };
  await beds.make("memory-first");
  await beds.sleep("memory-first");
  const without = await residentMb(server.pid);
  for (const name of names) await beds.make(name);
  const commands = names.map((name) => server.client().sprite(name).spawn("sleep", ["7200"]));
  await Promise.all(commands.map((command) => new Promise((done) => command.once("spawn", done))));
  // The helper that brought each up goes after a while.
  await waitUntil(async () => !(await helpersRun(server)), {
    timeoutMs: stateTimeoutMs,
    intervalMs: 500,
  });
  bench.emit(rowOf({ name: "memory_running_mb", unit: "MB", samples: await sizeNow() }));
  for (const command of commands) command.kill();
  for (const name of names) await beds.untilWarm(name);
  bench.emit(rowOf({ name: "memory_warm_mb", unit: "MB", samples: await sizeNow() }));
  for (const name of names) await beds.sleep(name);
  const note =
    "no process: what the server has grown by since there was one sprite, by their number";
  const grown = Math.max(0, (await residentMb(server.pid)) - without) / names.length;
  bench.emit(rowOf({ name: "memory_cold_mb", unit: "MB", samples: [grown], note }));
}

async function helpersRun(server: TestServer): Promise<boolean> {
  for (const { pid } of await childrenOf(server.places, "sprite")) {
    const threads = `/proc/${pid}/task/${pid}/children`;
    const children = (await readFile(threads, "utf8").catch(() => "")).trim().split(" ");
    for (const child of children) {
      const command = await readFile(`/proc/${child}/cmdline`, "utf8").catch(() => "");
      if (command.includes("host-helper")) return true;
    }
  }
  return false;
}
