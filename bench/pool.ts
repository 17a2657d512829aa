/** Rows about the warm pool: a create that finds a sprite made already, and a hundred of them at once. */
import { join } from "node:path";
import { waitUntil } from "../src/base/wait.ts";
import { TestServer } from "../test/support/server.ts";
import { nextSpriteName, podmanPeer, type Bench } from "./context.ts";
import { createRound, guarded, push, timeMs } from "./life.ts";
import { rowOf } from "./report.ts";

const single = ["pool_create", "pool_create_to_first_output"] as const;
const burst = "pool_burst";
/** As issue 5 has it. */
const poolSize = 16;
const fillTimeoutMs = 180_000;

export async function runPool(bench: Bench): Promise<void> {
  if (![...single, burst].some(bench.wants)) return;
  const dataDirectory = join(bench.directory, "data-pool");
  const words = ["--pool", String(poolSize), "--create-rate-max", "off", "--running-max", "off"];
  const server = await TestServer.start({ dataDirectory, image: "bench", arguments: words });
  bench.cleanup.add("stop the server with a pool", () => server.close());
  const filling = new Filling(server);
  await guarded(bench, single, "ms", () => runSingle(bench, server, filling));
  await guarded(bench, [burst], "ms", () => runBurst(bench, server, filling));
  await server.close();
}

/** The rest of the pool is not refilled while it is measured: that is what a user meets who comes now and then. */
async function runSingle(bench: Bench, server: TestServer, filling: Filling): Promise<void> {
  if (!single.some(bench.wants)) return;
  const own = single.map((): number[] => []);
  const peer = single.map((): number[] => []);
  // The first one of a server pays for what all of them share.
  await filling.done();
  await createRound(server);
  for (let round = 0; round < bench.plan.createRounds; round++) {
    await filling.done();
    push(own, await createRound(server));
    if (bench.podman !== null) push(peer, await podmanRound(bench.podman));
  }
  for (const [index, name] of single.entries()) {
    const samples = own[index] ?? [];
    bench.emit(rowOf({ name, unit: "ms", samples, ...podmanPeer(bench, peer[index] ?? []) }));
  }
}

/** `podman run`, and `podman run` until its command has said something: podman keeps nothing ready. */
async function podmanRound(podman: NonNullable<Bench["podman"]>): Promise<number[]> {
  const startedAtMs = performance.now();
  const container = await podman.start();
  const createMs = performance.now() - startedAtMs;
  await podman.remove(container);
  return [createMs, await podman.firstOutputMs(["echo", "ok"])];
}

/** All of them at once, on a full pool: from the first request to the last answer, and the same of podman's. */
async function runBurst(bench: Bench, server: TestServer, filling: Filling): Promise<void> {
  if (!bench.wants(burst)) return;
  const { burstCreates } = bench.plan;
  await filling.done();
  const client = server.client();
  const names = Array.from({ length: burstCreates }, nextSpriteName);
  const samples = [await timeMs(() => Promise.all(names.map((name) => client.createSprite(name))))];
  await Promise.all(names.map((name) => client.sprite(name).delete()));
  const { podman } = bench;
  const peer = podman === null ? [] : [await timeMs(() => podmanBurst(podman, burstCreates))];
  const note = `${burstCreates} creates at once with ${poolSize} in the pool`;
  bench.emit(rowOf({ name: burst, unit: "ms", samples, note, ...podmanPeer(bench, peer) }));
}

/** As many at a time as it bears: all of them at once wait for each other's locks. */
async function podmanBurst(podman: NonNullable<Bench["podman"]>, count: number): Promise<void> {
  const containers: string[] = [];
  let left = count;
  const next = async (): Promise<void> => {
    while (left-- > 0) containers.push(await podman.start());
  };
  await Promise.all([next(), next(), next(), next()]);
  for (const container of containers) await podman.remove(container);
}

/** The server says with each spare that stands by how many do; each create is followed by one more. */
class Filling {
  readonly #server: TestServer;
  #seen = 0;

  constructor(server: TestServer) {
    this.#server = server;
  }

  /** Settles when it is full again since the last time. */
  async done(): Promise<void> {
    const before = this.#seen;
    const isFull = (): boolean => {
      this.#seen = this.#server.log.filter(saysFull).length;
      return this.#seen > before;
    };
    if (await waitUntil(isFull, { timeoutMs: fillTimeoutMs, intervalMs: 100 })) return;
    throw new Error(`the pool does not fill within ${fillTimeoutMs} ms`);
  }
}

function saysFull(line: string): boolean {
  if (!line.includes("a spare sprite stands by")) return false;
  return (JSON.parse(line) as { ready: number }).ready >= poolSize;
}
