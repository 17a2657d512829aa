/** Rows about checkpoint and restore, at three sizes of used disk; the peer commits a container with the same data. */
import { join } from "node:path";
import type { Sprite } from "@fly/sprites";
import { unitSizeBytes } from "../src/storage/block-map/geometry.ts";
import { openObjectStore } from "../src/storage/object-store/open-object-store.ts";
import { spriteCacheDirectory } from "../src/worker/places.ts";
import { checkpointId, drainStream } from "../test/support/streams.ts";
import { say } from "./cleanup.ts";
import { backgroundPids, createSprite, podmanPeer, type Bench } from "./context.ts";
import { fillMap, largeNote } from "./large-volume.ts";
import { guarded, push, timeMs } from "./life.ts";
import { settle } from "./machine.ts";
import { runPauseOfSize } from "./pause.ts";
import { SpritePlace } from "./place.ts";
import type { Podman } from "./podman.ts";
import { rowOf } from "./report.ts";

interface Size {
  /** Behind the row's name. */
  suffix: string;
  /** Of real data; the rest is made (large-volume.ts). */
  megabytes: number;
  isLarge?: boolean;
  note?: string;
}

export const checkpointSizes: readonly Size[] = [
  { suffix: "", megabytes: 1 },
  { suffix: "_100mb", megabytes: 100 },
  { suffix: "_50gb", megabytes: 100, isLarge: true, note: largeNote },
];

export async function runCheckpoints(bench: Bench, size: Size): Promise<void> {
  const { suffix } = size;
  const names = ["checkpoint", "restore", "restore_to_first_output"].map((name) => name + suffix);
  const pauses = ["checkpoint_pause", "checkpoint_pause_fsync"].map((name) => name + suffix);
  if (![...names, ...(suffix === "" ? [] : pauses)].some(bench.wants)) return;
  await guarded(bench, names, "ms", async () => {
    const made = await createSprite(bench);
    await new SpritePlace(made).run(fillScript(size.megabytes));
    const sprite = size.isLarge === true ? await enlarge(bench, made) : made;
    if (names.some(bench.wants)) await runRounds(bench, { sprite, size, names });
    if (suffix !== "") await runPauseOfSize(bench, { sprite, ...size });
    await sprite.delete();
  });
}

async function runRounds(
  bench: Bench,
  { sprite, size, names }: { sprite: Sprite; size: Size; names: readonly string[] },
): Promise<void> {
  const own = names.map((): number[] => []);
  const peer = names.map((): number[] => []);
  // A commit copies all that the box holds: at 50 GB there is no peer.
  const podman = size.isLarge === true ? null : bench.podman;
  const peerBox = podman === null ? null : await fillPodman(podman, size.megabytes);
  for (let round = 0; round < bench.plan.checkpointRounds; round++) {
    await settle(await backgroundPids(bench), bench.directory);
    push(own, await spriteRound(sprite));
    if (podman === null || peerBox === null) continue;
    await settle([], bench.directory);
    push(peer, await podmanRound(podman, peerBox));
  }
  for (const [index, name] of names.entries()) {
    const samples = own[index] ?? [];
    const beside = size.isLarge === true ? {} : podmanPeer(bench, peer[index] ?? []);
    const notes = size.note === undefined ? {} : { note: size.note };
    bench.emit(rowOf({ name, unit: "ms", samples, ...beside, ...notes }));
  }
  if (peerBox !== null) await podman?.remove(peerBox);
}

/** Gives the guest a file of 50 GB, and the volume's map what the map would have if it had been written. */
async function enlarge(bench: Bench, sprite: Sprite): Promise<Sprite> {
  const { server } = bench;
  say("making a disk with 50 GB in use");
  const text = await new SpritePlace(sprite).run(extentsScript);
  await server.stop();
  const id = sprite.id ?? "";
  await fillMap({
    store: await openObjectStore(join(server.dataDirectory, "bucket")),
    prefix: `sprites/${id}`,
    cacheDirectory: spriteCacheDirectory(server.places, id),
    units: unitsOf(text),
  });
  await server.startProcess();
  // The server listens somewhere else now.
  const again = server.client().sprite(sprite.name);
  await again.execFile("true");
  return again;
}

/** Allocates the file, and prints where each of its extents lies on the disk: first byte and length. */
const extentsScript = `
fallocate -l 50G large && sync large
python3 - <<'SCRIPT'
import array, fcntl, os, struct
f, at = os.open("large", os.O_RDONLY), 0
while True:
    # FS_IOC_FIEMAP of linux/fiemap.h: a head of 32 bytes and room for extents of 56.
    request = array.array("B", struct.pack("=QQIIII", at, 2**63 - 1 - at, 0, 0, 256, 0) + bytes(256 * 56))
    fcntl.ioctl(f, 0xC020660B, request, True)
    count = struct.unpack_from("=I", request, 20)[0]
    if count == 0: break
    for n in range(count):
        logical, physical, length = struct.unpack_from("=QQQ", request, 32 + n * 56)
        print(physical, length)
        at = logical + length
SCRIPT`;

/** Only units that lie in the file as a whole: others hold what the file system needs. */
function* unitsOf(extents: string): Generator<number> {
  for (const line of extents.trim().split("\n")) {
    const [startBytes = 0, sizeBytes = 0] = line.split(" ").map(Number);
    const end = Math.floor((startBytes + sizeBytes) / unitSizeBytes);
    for (let unit = Math.ceil(startBytes / unitSizeBytes); unit < end; unit++) yield unit;
  }
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
