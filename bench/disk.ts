/** Runs the disk rows on a sprite and its peers in turn, so that all of them see the same machine. */
import { runCommand } from "../src/host/command.ts";
import { say } from "./cleanup.ts";
import {
  fioWorkloads,
  hostWorkloads,
  layOutFile,
  type FioSize,
  type Workload,
} from "./disk-workloads.ts";
import { settle } from "./machine.ts";
import type { Materials } from "./materials.ts";
import type { Place, SpritePlace } from "./place.ts";
import type { Plan } from "./plan.ts";
import { failedRow, rowOf, type Row } from "./report.ts";
import { s3backerFileMegabytes, s3backerNote } from "./s3backer.ts";

export interface DiskBench {
  plan: Plan;
  sprite: SpritePlace;
  host: Place;
  /** Null with the reason on the standard error when it does not run here. */
  s3backer: Place | null;
  materials: Materials;
  /** Processes that work for the sprite in the background. */
  agentPids: readonly number[];
  /** The sprite's cache file, below which lies the host's page cache. */
  cacheFile: string;
  /** Where all of the bench lies, on the host's disk. */
  directory: string;
  wants: (name: string) => boolean;
  emit: (row: Row) => void;
}

export async function runDisk(bench: DiskBench): Promise<void> {
  const { plan, sprite, host, s3backer } = bench;
  const size = { seconds: plan.fioSeconds, fileMegabytes: plan.fioFileMegabytes };
  await eachPlace([sprite, host], async (place) => {
    await layOutFile(place, size.fileMegabytes);
    await place.put(bench.materials.sourceTar, "source.tar");
    await place.put(bench.materials.npmTar, "npm.tar");
    await place.run(
      "tar -xf npm.tar && rm npm.tar && mkdir -p source && tar -xf source.tar -C source",
    );
  });
  for (const workload of [...fioWorkloads(size), ...hostWorkloads(plan)]) {
    if (bench.wants(`disk.${workload.name}`)) await runRow(bench, { workload, peer: host });
  }
  if (s3backer !== null) await runAgainstS3backer(bench, s3backer);
}

async function runAgainstS3backer(bench: DiskBench, s3backer: Place): Promise<void> {
  const size: FioSize = {
    seconds: Math.min(bench.plan.fioSeconds, 1),
    fileMegabytes: s3backerFileMegabytes,
  };
  const workloads = fioWorkloads(size).filter((workload) =>
    bench.wants(`s3backer.${workload.name}`),
  );
  if (workloads.length === 0) return;
  await eachPlace([bench.sprite, s3backer], (place) => layOutFile(place, size.fileMegabytes));
  for (const workload of workloads) {
    const renamed = { ...workload, note: s3backerNote };
    await runRow(bench, { workload: renamed, peer: s3backer, group: "s3backer" });
  }
}

async function runRow(
  bench: DiskBench,
  options: { workload: Workload; peer: Place; group?: string },
): Promise<void> {
  const { workload, peer, group = "disk" } = options;
  const name = `${group}.${workload.name}`;
  const { unit, note } = workload;
  const samples = new Map<Place, number[]>([
    [bench.sprite, []],
    [peer, []],
  ]);
  try {
    const { diskRounds, treeRounds } = bench.plan;
    const rounds = workload.isTree === true ? treeRounds : diskRounds;
    for (let round = 0; round < rounds; round++) {
      // Who goes first changes, so that neither side always follows the other.
      const order = [...samples.keys()];
      for (const place of round % 2 === 0 ? order : order.toReversed()) {
        await workload.prepare?.(place);
        await settle(bench.agentPids, bench.directory);
        if (workload.cold === true) await dropCache(bench.cacheFile);
        const value = await workload.measure(place);
        samples.get(place)?.push(value);
        say(`${name} ${place.name}: ${value.toFixed(1)} ${unit}`);
      }
    }
    bench.emit(
      rowOf({
        ...{ name, unit, samples: samples.get(bench.sprite) ?? [] },
        peer: { name: peer.name, samples: samples.get(peer) ?? [] },
        ...(note === undefined ? {} : { note }),
      }),
    );
  } catch (error) {
    bench.emit(failedRow(name, unit, error));
  }
}

/** Writes the file's dirty pages and forgets its clean ones. The host's own direct reads are never cached. */
async function dropCache(file: string): Promise<void> {
  await runCommand("sync", [file], { deadlineMs: 60_000 });
  await runCommand("dd", [`if=${file}`, "iflag=nocache", "count=0", "status=none"], {
    deadlineMs: 60_000,
  });
}

async function eachPlace(
  places: readonly Place[],
  prepare: (place: Place) => Promise<void>,
): Promise<void> {
  for (const place of places) {
    say(`preparing the disk rows: ${place.name}`);
    await prepare(place);
  }
}
