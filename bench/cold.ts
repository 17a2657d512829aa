/** Rows about data that this machine has nothing of: everything comes from the S3 server. */
import { open, rm } from "node:fs/promises";
import { join } from "node:path";
import { unitSizeBytes } from "../src/storage/block-map/geometry.ts";
import { openObjectStore } from "../src/storage/object-store/open-object-store.ts";
import { waitUntil } from "../src/base/wait.ts";
import { runCommand } from "../src/host/command.ts";
import { spriteCacheDirectory } from "../src/worker/places.ts";
import type { TestServer } from "../test/support/server.ts";
import { say } from "./cleanup.ts";
import { nextSpriteName, type Bench } from "./context.ts";
import { timedMs } from "./disk-workloads.ts";
import { largeNote, largeUnits, makeLargeVolume } from "./large-volume.ts";
import { guarded } from "./life.ts";
import { SpritePlace } from "./place.ts";
import { startRclone } from "./rclone.ts";
import { rowOf } from "./report.ts";
import { startS3backer, type MountedPeer } from "./s3backer.ts";
import type { ColdOpens, Speed, StoreRequest } from "./store-process.ts";
import { farMs } from "./store.ts";
import { VolumeRig } from "./volume-rig.ts";

const storeProcess = join(import.meta.dirname, "store-process.ts");
const processTimeoutMs = 120_000;
const syncedTimeoutMs = 120_000;
const getsAtOnce = 8;
const warmUpMegabytes = 16;

export async function runCold(bench: Bench): Promise<void> {
  await runOpens(bench);
  await runReads(bench);
}

async function runOpens(bench: Bench): Promise<void> {
  const names = ["cold_first_block", "cold_map", "cold_first_block_from_spawn"];
  if (!names.some(bench.wants)) return;
  await guarded(bench, names, "ms", async () => {
    const { directory, cleanup, plan } = bench;
    const { store } = await bench.far();
    store.proxy.roundTripMs = 0;
    const prefix = "sprites/large";
    say("making a map of 50 GB");
    await makeLargeVolume({ store: await openObjectStore(store.url), prefix, directory });
    store.proxy.roundTripMs = farMs;
    const request = { kind: "cold-open", url: store.url, prefix } as const;
    const rounds = plan.coldOpens;
    const opens = await measureStore<ColdOpens>({ ...request, directory, rounds });
    const spawnMs: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const rigDirectory = join(directory, `rig-${round}`);
      const startMs = performance.now();
      const sizeBytes = largeUnits * unitSizeBytes;
      const volume = { bucket: store.url, prefix, sizeBytes };
      const rig = await VolumeRig.start(volume, { directory: rigDirectory, cleanup });
      await readFirstBlock(rig.file);
      spawnMs.push(performance.now() - startMs);
      await rig.close();
    }
    const samples = [opens.firstBlockMs, opens.mapMs, spawnMs];
    for (const [index, name] of names.entries()) {
      bench.emit(rowOf({ name, unit: "ms", samples: samples[index] ?? [], note: largeNote }));
    }
  });
}

async function readFirstBlock(path: string): Promise<void> {
  const file = await open(path, "r");
  await file.read(Buffer.alloc(4_096), 0, 4_096, 0);
  await file.close();
}

async function runReads(bench: Bench): Promise<void> {
  const distances = [0, farMs].map((ms) => ({ ms, name: `cold_seq_read_${ms}ms` }));
  const peers = ["s3backer.cold_seq_read", "rclone.cold_seq_read"];
  const names = [...distances.map(({ name }) => name), ...peers];
  if (!names.some(bench.wants)) return;
  await guarded(bench, names, "MB/s", async () => {
    const { plan } = bench;
    const { store } = await bench.far();
    store.proxy.roundTripMs = 0;
    const count = distances.length * plan.coldReads;
    const { sprite, prefix } = await makeColdSprite(bench, count);
    // What follows a cold start is not over yet, such as fetching what the last start read.
    await sprite.run("cat warm-up >/dev/null");
    const far: number[] = [];
    for (const [index, { ms, name }] of distances.entries()) {
      store.proxy.roundTripMs = ms;
      const own: number[] = [];
      const storeRates: number[] = [];
      for (let round = 0; round < plan.coldReads; round++) {
        const file = `cold-${index * plan.coldReads + round}`;
        own.push(megabytesPerSecond(plan, await timedMs(sprite, `cat ${file} >/dev/null`)));
        storeRates.push(await storeSpeed(bench, { url: store.url, prefix }));
      }
      if (ms === farMs) far.push(...own);
      const peer = { name: `the store, ${getsAtOnce} GETs at a time`, samples: storeRates };
      bench.emit(rowOf({ name, unit: "MB/s", samples: own, peer }));
    }
    await sprite.sprite.delete();
    await emitPeerReads(bench, far);
  });
}

function megabytesPerSecond({ coldReadMegabytes }: Bench["plan"], ms: number): number {
  return (coldReadMegabytes * 2 ** 20) / 1_000 / ms;
}

/** A running sprite with so many files, of which this machine holds nothing. */
async function makeColdSprite(
  bench: Bench,
  files: number,
): Promise<{ sprite: SpritePlace; prefix: string }> {
  const { server } = await bench.far();
  const made = await server.client().createSprite(nextSpriteName());
  const megabytes = bench.plan.coldReadMegabytes;
  await new SpritePlace(made).run(
    `head -c ${warmUpMegabytes}M /dev/urandom > warm-up; for n in $(seq 0 ${files - 1}); do ` +
      `head -c ${megabytes}M /dev/urandom > cold-$n; done; sync`,
  );
  const id = made.id ?? "";
  await untilSynced(server, made.name);
  await server.stop();
  await rm(spriteCacheDirectory(server.places, id), { recursive: true, force: true });
  await server.startProcess();
  const sprite = new SpritePlace(server.client().sprite(made.name));
  await sprite.run("true");
  return { sprite, prefix: `sprites/${id}` };
}

/** A server that stops waits for the bucket some seconds only. @throws when the sprite is not stored in time */
async function untilSynced(server: TestServer, name: string): Promise<void> {
  const isSynced = await waitUntil(
    async () => {
      const response = await server.request(`/v1/sprites/${name}/check`);
      const { sync } = (await response.json()) as { sync?: { synced: boolean } };
      return sync?.synced === true;
    },
    { timeoutMs: syncedTimeoutMs, intervalMs: 100 },
  );
  if (!isSynced) throw new Error("the sprite was not stored in time");
}

async function storeSpeed(
  { plan }: Bench,
  place: { url: string; prefix: string },
): Promise<number> {
  const sizeBytesMax = plan.coldReadMegabytes * 2 ** 20;
  const request = { kind: "speed", ...place, atOnce: getsAtOnce, sizeBytesMax } as const;
  return (await measureStore<Speed>(request)).megabytesPerSecond;
}

/** The same file in the hands of the peers, which are restarted with an empty cache. */
async function emitPeerReads(bench: Bench, own: readonly number[]): Promise<void> {
  const { plan, cleanup } = bench;
  const { store } = await bench.far();
  const peers = [
    { name: "s3backer", start: startS3backer, file: "file" },
    { name: "rclone", start: startRclone, file: "cold" },
  ];
  for (const { name, start, file } of peers) {
    const row = `${name}.cold_seq_read`;
    if (!bench.wants(row)) continue;
    await guarded(bench, [row], "MB/s", async () => {
      const samples: number[] = [];
      const begin = (step: string): Promise<MountedPeer> => {
        const directory = join(bench.directory, `${name}-${step}`);
        return start({ store, prefix: `${name}-cold`, directory, cleanup });
      };
      store.proxy.roundTripMs = 0;
      const writer = await begin("writer");
      await dd(
        ["if=/dev/urandom", `of=${join(writer.directory, file)}`, "conv=notrunc,fsync"],
        plan,
      );
      await store.untilQuiet();
      await writer.end();
      store.proxy.roundTripMs = farMs;
      for (let round = 0; round < plan.coldReads; round++) {
        const reader = await begin(`reader-${round}`);
        const startMs = performance.now();
        await dd([`if=${join(reader.directory, file)}`, "of=/dev/null"], plan);
        samples.push(megabytesPerSecond(plan, performance.now() - startMs));
        await reader.end();
      }
      bench.emit(rowOf({ name: row, unit: "MB/s", samples: own, peer: { name, samples } }));
    });
  }
}

async function dd(words: readonly string[], { coldReadMegabytes }: Bench["plan"]): Promise<void> {
  const rest = ["bs=1M", `count=${coldReadMegabytes}`, "status=none"];
  await runCommand("dd", [...words, ...rest], { deadlineMs: processTimeoutMs });
}

async function measureStore<Result>(request: StoreRequest): Promise<Result> {
  const { stdout } = await runCommand(process.execPath, [storeProcess, JSON.stringify(request)], {
    deadlineMs: processTimeoutMs,
    environment: process.env as Record<string, string>,
  });
  return JSON.parse(stdout) as Result;
}
