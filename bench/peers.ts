/** A sprite beside what else makes a disk or a directory of a bucket, all on one S3 server that is 20 ms away, with warm caches. */
import { join } from "node:path";
import { childrenOf } from "../test/support/processes.ts";
import { spriteCacheDirectory } from "../src/worker/places.ts";
import { nextSpriteName, type Bench } from "./context.ts";
import { layOutFile, peerWorkloads } from "./disk-workloads.ts";
import { SpritePlace } from "./place.ts";
import { mountRclone, rcloneNote } from "./rclone.ts";
import { failedRow } from "./report.ts";
import { mountS3backer, s3backerNote } from "./s3backer.ts";
import { farMs } from "./store.ts";
import { takeTurns, type Peer } from "./turns.ts";

interface Group {
  /** Before the dot in its rows' names. */
  name: string;
  start: typeof mountS3backer;
  note: string;
}

const groups: readonly Group[] = [
  { name: "s3backer", start: mountS3backer, note: s3backerNote },
  { name: "rclone", start: mountRclone, note: rcloneNote },
];

export async function runPeers(bench: Bench): Promise<void> {
  const wanted = groups.filter(({ name }) => bench.wantsGroup([name]));
  if (wanted.length === 0) return;
  try {
    await runGroups(bench, wanted);
  } catch (error) {
    for (const { name } of wanted) bench.emit(failedRow(`${name}.preparation`, "ms", error));
  }
}

async function runGroups(bench: Bench, wanted: readonly Group[]): Promise<void> {
  const { cleanup, directory, imageMount, plan, emit } = bench;
  const { store, server } = await bench.far();
  store.proxy.roundTripMs = farMs;
  const sprite = new SpritePlace(await server.client().createSprite(nextSpriteName()));
  const size = { seconds: plan.peerSeconds, fileMegabytes: plan.peerFileMegabytes };
  await layOutFile(sprite, size.fileMegabytes);
  const pids = (await childrenOf(server.places)).map(({ pid }) => pid);
  const mounted: Array<Omit<Peer, "row"> & { group: string }> = [];
  for (const { name, start, note } of wanted) {
    try {
      const options = { store, directory: join(directory, name), imageMount, cleanup };
      const { place, pid } = await start(options);
      await layOutFile(place, size.fileMegabytes);
      pids.push(pid);
      mounted.push({ group: name, place, note });
    } catch (error) {
      emit(failedRow(`${name}.mount`, "ms", error));
    }
  }
  const id = sprite.sprite.id ?? "";
  const cacheFile = join(spriteCacheDirectory(server.places, id), "blocks");
  for (const workload of peerWorkloads(size)) {
    const peers = mounted
      .map((peer) => ({ ...peer, row: `${peer.group}.${workload.name}` }))
      .filter(({ row }) => bench.wants(row));
    const turns = { sprite, pids, cacheFile, directory, emit };
    if (peers.length > 0) await takeTurns(turns, { workload, peers, rounds: plan.peerRounds });
  }
  await sprite.sprite.delete();
}
