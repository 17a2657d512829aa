/** Rows about what an fsync waits for: this machine's disk, or the S3 server at two distances. */
import { nextSpriteName, type Bench } from "./context.ts";
import { fsyncRate } from "./disk-workloads.ts";
import { guarded } from "./life.ts";
import { SpritePlace } from "./place.ts";
import { rowOf } from "./report.ts";
import { farMs } from "./store.ts";

interface Case {
  name: string;
  durability: "local" | "durable";
  roundTripMs: number;
  writers: number;
  note: string;
}

const appends = "each writer appends 4 KiB to a file of its own and calls fsync";
const cases: readonly Case[] = [
  ...[1, 16].map((writers): Case => {
    const name = writers === 1 ? "fsync_local" : `fsync_local_${writers}_writers`;
    return { name, durability: "local", roundTripMs: farMs, writers, note: appends };
  }),
  ...[0, farMs].flatMap((roundTripMs) =>
    [1, 16].map((writers): Case => {
      const crowd = writers === 1 ? "" : `_${writers}_writers`;
      const name = `fsync_durable_${roundTripMs}ms${crowd}`;
      return { name, durability: "durable", roundTripMs, writers, note: appends };
    }),
  ),
];

const amplificationRow = "write_amplification_of_sprite";
const writesPerSecond = 500;
const writeSeconds = 10;

export async function runFsync(bench: Bench): Promise<void> {
  const wanted = cases.filter(({ name }) => bench.wants(name));
  if (wanted.length === 0 && !bench.wants(amplificationRow)) return;
  const names = wanted.map(({ name }) => name);
  await guarded(bench, names, "1/s", async () => {
    const { store, server } = await bench.far();
    const made = await server.client().createSprite(nextSpriteName());
    const sprite = new SpritePlace(made);
    for (const { name, durability, roundTripMs, writers, note } of wanted) {
      store.proxy.roundTripMs = roundTripMs;
      const { code, stderr } = await server.cli(["durability", durability, "-s", made.name]);
      if (code !== 0) throw new Error(stderr);
      const samples: number[] = [];
      for (let round = 0; round < bench.plan.fsyncRounds; round++) {
        samples.push(await fsyncRate(sprite, { seconds: bench.plan.fioSeconds, writers }));
      }
      bench.emit(rowOf({ name, unit: "1/s", samples, note }));
    }
    await server.cli(["durability", "local", "-s", made.name]);
    if (bench.wants(amplificationRow)) await measureOnTheWire(bench, sprite);
    await made.delete();
  });
}

/** All that goes through the proxy, request headers included, for each byte that a guest's program writes. */
async function measureOnTheWire(bench: Bench, sprite: SpritePlace): Promise<void> {
  await guarded(bench, [amplificationRow], "x", async () => {
    const { store } = await bench.far();
    await sprite.run(
      "head -c 64M /dev/urandom > amplified && sync amplified && fio --name=warm --filename=amplified " +
        "--rw=randwrite --bs=4k --direct=1 --io_size=16m --size=64m > /dev/null",
    );
    await store.untilQuiet();
    const before = store.proxy.sentBytes;
    const text = await sprite.run(
      "fio --name=row --filename=amplified --rw=randwrite --bs=4k --direct=1 --size=64m --time_based " +
        "--norandommap --refill_buffers --output-format=json " +
        `--runtime=${writeSeconds} --rate_iops=${writesPerSecond}`,
    );
    await store.untilQuiet();
    const document = JSON.parse(text.slice(text.indexOf("{"))) as {
      jobs: Array<{ write: { io_bytes: number } }>;
    };
    const writtenBytes = document.jobs[0]?.write.io_bytes ?? Number.NaN;
    const samples = [(store.proxy.sentBytes - before) / writtenBytes];
    const note = `${writesPerSecond} writes a second anywhere in a file of 64 MiB, ${writeSeconds} s`;
    bench.emit(rowOf({ name: amplificationRow, unit: "x", samples, note }));
  });
}
