/** Rows about a whole sprite: start of the server, create, first output, exec, destroy, memory of the agent. */
import { once } from "node:events";
import type { Sprite } from "@fly/sprites";
import { childrenOf } from "../test/support/processes.ts";
import type { TestServer } from "../test/support/server.ts";
import { openExec } from "../test/support/websocket.ts";
import { createSprite, nextSpriteName, podmanPeer, type Bench } from "./context.ts";
import { residentMegabytes, settle } from "./machine.ts";
import { failedRow, rowOf } from "./report.ts";
import type { Unit } from "./statistics.ts";

const warmUps = 5;

/** Ends and starts the server on its data, as `make up` does the second time. */
export async function runServerStart(bench: Bench): Promise<void> {
  if (!bench.wants("server_start")) return;
  await guarded(bench, ["server_start"], "ms", async () => {
    const samples: number[] = [];
    for (let start = 0; start < bench.plan.serverStarts; start++) {
      await bench.server.stop();
      await settle([], bench.directory);
      samples.push(await timeMs(() => bench.server.startProcess()));
    }
    bench.emit(rowOf({ name: "server_start", unit: "ms", samples }));
  });
}

export async function runCreate(bench: Bench): Promise<void> {
  const names = ["create", "create_to_first_output", "destroy"];
  if (!names.some(bench.wants)) return;
  await guarded(bench, names, "ms", async () => {
    const own = names.map((): number[] => []);
    const peer = names.map((): number[] => []);
    // The first one of a server pays for what all of them share, such as reading the image.
    await createRound(bench.server);
    for (let round = 0; round < bench.plan.createRounds; round++) {
      push(own, await createRound(bench.server));
      if (bench.podman !== null) push(peer, await podmanCreateRound(bench));
    }
    for (const [index, name] of names.entries()) {
      const samples = own[index] ?? [];
      bench.emit(rowOf({ name, unit: "ms", samples, ...podmanPeer(bench, peer[index] ?? []) }));
    }
  });
}

/** Milliseconds of: create, create to first output, destroy. */
export async function createRound(server: TestServer): Promise<number[]> {
  const startedAtMs = performance.now();
  const sprite = await server.client().createSprite(nextSpriteName());
  const createMs = performance.now() - startedAtMs;
  const command = sprite.spawn("echo", ["ok"]);
  const exited = once(command, "exit");
  await once(command.stdout, "data");
  const firstOutputMs = performance.now() - startedAtMs;
  await exited;
  return [createMs, firstOutputMs, await timeMs(() => sprite.delete())];
}

async function podmanCreateRound(bench: Bench): Promise<number[]> {
  const { podman } = bench;
  if (podman === null) return [];
  const startedAtMs = performance.now();
  const container = await podman.start();
  const createMs = performance.now() - startedAtMs;
  const removeMs = await timeMs(() => podman.remove(container));
  return [createMs, await podman.firstOutputMs(["echo", "ok"]), removeMs];
}

export async function runExec(bench: Bench): Promise<void> {
  const names = ["exec", "exec_raw", "exec_http"];
  if (!names.some(bench.wants)) return;
  await guarded(bench, names, "ms", async () => {
    const sprite = await createSprite(bench);
    const container = bench.podman === null ? null : await bench.podman.start();
    const ways = [
      () => sprite.execFile("true"),
      () => rawExec(bench, sprite),
      () => sprite.execFileHTTP("true"),
    ];
    for (const way of ways) for (let count = 0; count < warmUps; count++) await way();
    const own = ways.map((): number[] => []);
    const peer: number[] = [];
    for (let round = 0; round < bench.plan.execRounds; round++) {
      for (let count = 0; count < bench.plan.execsEachRound; count++) {
        for (const [index, way] of ways.entries()) own[index]?.push(await timeMs(way));
      }
      if (bench.podman === null || container === null) continue;
      const { podman } = bench;
      peer.push(await timeMs(() => podman.exec(container, ["true"])));
    }
    for (const [index, name] of names.entries()) {
      const samples = own[index] ?? [];
      bench.emit(rowOf({ name, unit: "ms", samples, ...podmanPeer(bench, peer) }));
    }
    await sprite.delete();
    if (container !== null) await bench.podman?.remove(container);
  });
}

/** A WebSocket of its own and nothing of the SDK, until the exit frame. */
async function rawExec(bench: Bench, sprite: Sprite): Promise<void> {
  const path = `/v1/sprites/${sprite.name}/exec`;
  const exec = await openExec(bench.server, path, [["cmd", "true"]]);
  await exec.closed;
  if (!exec.bytes().equals(Buffer.from([3, 0]))) throw new Error("the raw exec did not exit 0");
}

/** The agents that run now. Called when they have done some work. */
export async function runMemory(bench: Bench, name: string): Promise<void> {
  if (!bench.wants(name)) return;
  await guarded(bench, [name], "MB", async () => {
    const samples: number[] = [];
    const owned: number[] = [];
    for (const { pid } of await childrenOf(bench.server.places, "sprite")) {
      const memory = await residentMegabytes(pid);
      samples.push(memory.all);
      owned.push(memory.private);
    }
    if (samples.length === 0) throw new Error("no agent runs");
    const note = `of which not shared with other agents: ${Math.max(...owned).toFixed(0)} MB`;
    bench.emit(rowOf({ name, unit: "MB", samples, note }));
  });
}

export async function timeMs(work: () => Promise<unknown>): Promise<number> {
  const startedAtMs = performance.now();
  await work();
  return performance.now() - startedAtMs;
}

/** A suite that fails costs its own rows and no others; it emits them at its end, so none twice. */
export async function guarded(
  bench: Bench,
  names: readonly string[],
  unit: Unit,
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    for (const name of names) bench.emit(failedRow(name, unit, error));
  }
}

/** One value to each column. */
export function push(columns: readonly number[][], values: readonly number[]): void {
  for (const [index, value] of values.entries()) columns[index]?.push(value);
}
