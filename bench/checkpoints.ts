/** Rows about checkpoint and restore, at three sizes of used disk; the peer commits a container with the same data. */
import type { Sprite } from "@fly/sprites";
import { checkpointId, drainStream } from "../test/support/streams.ts";
import { say } from "./cleanup.ts";
import { backgroundPids, createSprite, podmanPeer, type Bench } from "./context.ts";
import { guarded, push, timeMs } from "./life.ts";
import { settle } from "./machine.ts";
import { SpritePlace } from "./place.ts";
import type { Podman } from "./podman.ts";
import { rowOf } from "./report.ts";

interface Size {
  /** Behind the row's name. */
  suffix: string;
  megabytes: number;
  rounds: number;
  /** A commit copies all that the box holds, so at 5 GB one must do. */
  peerRounds: number;
}

export function checkpointSizes(bench: Bench): Size[] {
  const { checkpointRounds: rounds, checkpointRoundsAt5Gb } = bench.plan;
  return [
    { suffix: "", megabytes: 1, rounds, peerRounds: rounds },
    { suffix: "_100mb", megabytes: 100, rounds, peerRounds: rounds },
    { suffix: "_5gb", megabytes: 5000, rounds: checkpointRoundsAt5Gb, peerRounds: 1 },
  ];
}

export async function runCheckpoints(bench: Bench, size: Size): Promise<void> {
  const names = ["checkpoint", "restore", "restore_to_first_output"].map(
    (name) => `${name}${size.suffix}`,
  );
  if (!names.some(bench.wants)) return;
  if (size.rounds === 0)
    return say(`${names.join(", ")}: only in the whole bench, not with --quick`);
  await guarded(bench, names, "ms", async () => {
    const own = names.map((): number[] => []);
    const peer = names.map((): number[] => []);
    const sprite = await createSprite(bench);
    await new SpritePlace(sprite).run(fillScript(size.megabytes));
    const { podman } = bench;
    const peerBox = podman === null ? null : await fillPodman(podman, size.megabytes);
    for (let round = 0; round < size.rounds; round++) {
      await settle(await backgroundPids(bench), bench.directory);
      push(own, await spriteRound(sprite));
      if (podman === null || peerBox === null || round >= size.peerRounds) continue;
      await settle([], bench.directory);
      push(peer, await podmanRound(podman, peerBox));
    }
    for (const [index, name] of names.entries()) {
      const samples = own[index] ?? [];
      bench.emit(rowOf({ name, unit: "ms", samples, ...podmanPeer(bench, peer[index] ?? []) }));
    }
    await sprite.delete();
    if (peerBox !== null) await podman?.remove(peerBox);
  });
}

/** Random bytes, made once and repeated: the machine's random source is slower than a disk. */
function fillScript(megabytes: number): string {
  const part = Math.min(megabytes, 50);
  return (
    `head -c ${part}M /dev/urandom > seed && ` +
    `for n in $(seq ${Math.ceil(megabytes / part)}); do cat seed > data-$n; done && sync`
  );
}

/** What a user changed since the last checkpoint, still in the page cache. */
const changeScript = "head -c 1M /dev/urandom > changed";

/** Milliseconds of: checkpoint, restore, restore to the first output. */
async function spriteRound(sprite: Sprite): Promise<number[]> {
  await sprite.execFile("sh", ["-c", changeScript]);
  let id = "";
  const checkpointMs = await timeMs(async () => {
    id = checkpointId(await drainStream(await sprite.createCheckpoint("bench")));
  });
  await sprite.execFile("sh", ["-c", changeScript]);
  const startedAtMs = performance.now();
  await drainStream(await sprite.restoreCheckpoint(id));
  const restoreMs = performance.now() - startedAtMs;
  await sprite.execFile("echo", ["ok"]);
  return [checkpointMs, restoreMs, performance.now() - startedAtMs];
}

async function fillPodman(podman: Podman, megabytes: number): Promise<string> {
  const container = await podman.start();
  await podman.exec(container, ["bash", "-ec", `cd /root\n${fillScript(megabytes)}`]);
  return container;
}

/**
 * A commit, and going back: one container removed and another started from the snapshot. The committed container stays, since
 * one that starts from a snapshot holds nothing of its own, and its next commit would have nothing to copy.
 */
async function podmanRound(podman: Podman, container: string): Promise<number[]> {
  const wrecked = await podman.start();
  await podman.exec(container, ["sh", "-c", `cd /root && ${changeScript}`]);
  let image = "";
  const commitMs = await timeMs(async () => {
    image = await podman.commit(container);
  });
  const startedAtMs = performance.now();
  await podman.remove(wrecked);
  const restored = await podman.start({ image });
  const restoreMs = performance.now() - startedAtMs;
  await podman.exec(restored, ["echo", "ok"]);
  const firstOutputMs = performance.now() - startedAtMs;
  await podman.remove(restored);
  await podman.removeImage(image);
  return [commitMs, restoreMs, firstOutputMs];
}
