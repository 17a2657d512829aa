/**
 * Rows about the pause that a checkpoint costs the guest: a guest process writes every millisecond, and the longest gap between
 * two of its writes during a checkpoint, less its usual gap, is the pause. Guest and host read the same monotonic clock.
 */
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import type { Sprite } from "@fly/sprites";
import { drainStream } from "../test/support/streams.ts";
import { createSprite, podmanPeer, type Bench } from "./context.ts";
import { guarded } from "./life.ts";
import { rowOf } from "./report.ts";
import { quantile } from "./statistics.ts";

const checkpointIntervalMs = 700;
/** Around the checkpoints, so that the usual gap is known and the last one is covered. */
const marginMs = 800;

/** Prints `ready`, then for each write the time of its end in milliseconds: one for plain writes, one with fsync. */
const writer = `
import os, sys, time
seconds, durable = float(sys.argv[1]), sys.argv[2] == "fsync"
f = os.open("/var/tmp/beat", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
os.write(f, b"x"); os.fsync(f)
print("ready", flush=True)
times, now = [], time.monotonic()
end = now + seconds
while now < end:
    os.pwrite(f, b"%d" % len(times), 0)
    if durable: os.fsync(f)
    now = time.monotonic()
    times.append(now)
    time.sleep(0.001)
print(" ".join("%.3f" % (t * 1000) for t in times), flush=True)
`;

interface Span {
  startMs: number;
  endMs: number;
}

export async function runPause(bench: Bench): Promise<void> {
  const names = ["checkpoint_pause", "checkpoint_pause_fsync"];
  if (!names.some(bench.wants)) return;
  await guarded(bench, names, "ms", async () => {
    const sprite = await createSprite(bench);
    const container = bench.podman === null ? null : await bench.podman.start();
    const own: number[][] = [[], []];
    const peer: number[][] = [[], []];
    for (let run = 0; run < bench.plan.pauseRuns; run++) {
      for (const [index, kind] of ["plain", "fsync"].entries()) {
        own[index]?.push(
          ...(await spritePauses(sprite, { kind, count: bench.plan.pauseCheckpointsEachRun })),
        );
        if (container !== null) peer[index]?.push(...(await podmanPauses(bench, container, kind)));
      }
    }
    for (const [index, name] of names.entries()) {
      const samples = own[index] ?? [];
      bench.emit(rowOf({ name, unit: "ms", samples, ...podmanPeer(bench, peer[index] ?? []) }));
    }
    await sprite.delete();
    if (container !== null) await bench.podman?.remove(container);
  });
}

/** The same in a sprite with a disk that is in use, beside nobody. */
export async function runPauseOfSize(
  bench: Bench,
  { sprite, suffix, note }: { sprite: Sprite; suffix: string; note?: string },
): Promise<void> {
  for (const [kind, name] of [
    ["plain", `checkpoint_pause${suffix}`],
    ["fsync", `checkpoint_pause_fsync${suffix}`],
  ] as const) {
    if (!bench.wants(name)) continue;
    await guarded(bench, [name], "ms", async () => {
      const samples = await spritePauses(sprite, {
        ...{ kind, count: bench.plan.pauseCheckpointsOfSize },
      });
      bench.emit(rowOf({ name, unit: "ms", samples, ...(note === undefined ? {} : { note }) }));
    });
  }
}

async function spritePauses(
  sprite: Sprite,
  { kind, count }: { kind: string; count: number },
): Promise<number[]> {
  return await measurePauses(count, {
    start: (seconds) => {
      const command = sprite.spawn("python3", ["-c", writer, String(seconds), kind]);
      return { output: command.stdout, exited: once(command, "exit") };
    },
    checkpoint: async () => void (await drainStream(await sprite.createCheckpoint("pause"))),
  });
}

async function podmanPauses(bench: Bench, container: string, kind: string): Promise<number[]> {
  const { podman } = bench;
  if (podman === null) return [];
  return await measurePauses(bench.plan.pauseCheckpointsEachRun, {
    start: (seconds) => {
      const child = podman.spawn(container, ["python3", "-c", writer, String(seconds), kind]);
      return { output: child.stdout, exited: once(child, "exit") };
    },
    // A commit pauses the container unless told otherwise.
    checkpoint: async () => podman.removeImage(await podman.commit(container)),
  });
}

async function measurePauses(
  count: number,
  side: {
    start: (seconds: number) => { output: Readable; exited: Promise<unknown> };
    checkpoint: () => Promise<void>;
  },
): Promise<number[]> {
  const seconds = (count * checkpointIntervalMs + 2 * marginMs) / 1000;
  const { output, exited } = side.start(seconds);
  const lines = createInterface({ input: output })[Symbol.asyncIterator]();
  if ((await lines.next()).value !== "ready") throw new Error("the writer did not start");
  await sleep(marginMs);
  const spans: Span[] = [];
  for (let index = 0; index < count; index++) {
    const startMs = monotonicMs();
    await side.checkpoint();
    spans.push({ startMs, endMs: monotonicMs() });
    const restMs = checkpointIntervalMs - (monotonicMs() - startMs);
    if (restMs > 0) await sleep(restMs);
  }
  const line = String((await lines.next()).value);
  await exited;
  return pausesOf(line.split(" ").map(Number), spans);
}

/** The clock that Python calls `time.monotonic()`. */
function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** For each span the longest gap that touches it, less the usual gap. A span behind the last write tells nothing. */
export function pausesOf(timesMs: readonly number[], spans: readonly Span[]): number[] {
  const gaps = timesMs
    .slice(1)
    .map((endMs, index) => ({ startMs: timesMs[index] ?? endMs, endMs }));
  const usualMs = quantile(
    gaps.map((gap) => gap.endMs - gap.startMs),
    0.5,
  );
  const pauses: number[] = [];
  const last = timesMs.at(-1) ?? 0;
  for (const span of spans) {
    if (span.endMs > last) continue;
    const touching = gaps.filter((gap) => gap.endMs > span.startMs && gap.startMs < span.endMs);
    const longestMs = Math.max(...touching.map((gap) => gap.endMs - gap.startMs));
    pauses.push(Math.max(0, longestMs - usualMs));
  }
  return pauses;
}
