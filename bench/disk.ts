/** The disk rows: a sprite beside the host's own file system. */
import { join } from "node:path";
import { spriteCacheDirectory } from "../src/worker/places.ts";
import { say } from "./cleanup.ts";
import { backgroundPids, createSprite, type Bench } from "./context.ts";
import { fioWorkloads, hostWorkloads, layOutFile } from "./disk-workloads.ts";
import { runMemory } from "./life.ts";
import { hostDiskName } from "./machine.ts";
import { ensureMaterials, type Materials } from "./materials.ts";
import { ChrootPlace, SpritePlace, type Place } from "./place.ts";
import { failedRow } from "./report.ts";
import { takeTurns } from "./turns.ts";

export async function runDisk(bench: Bench): Promise<void> {
  if (!bench.wantsGroup(["disk", "agent"])) return;
  const { cleanup, directory, imageMount } = bench;
  const sprite = await createSprite(bench);
  await sprite.execFile("true");
  await runMemory(bench, "agent_rss_mb");
  try {
    const host = await ChrootPlace.mount({
      ...{ name: await hostDiskName(directory), imageMount, directory: join(directory, "host") },
      cleanup,
    });
    await runRows(bench, { sprite: new SpritePlace(sprite), host });
    await runMemory(bench, "agent_rss_after_disk_mb");
  } catch (error) {
    bench.emit(failedRow("disk.preparation", "ms", error));
  }
  await sprite.delete();
}

async function runRows(
  bench: Bench,
  { sprite, host }: { sprite: SpritePlace; host: Place },
): Promise<void> {
  const { plan, directory, emit } = bench;
  const size = { seconds: plan.fioSeconds, fileMegabytes: plan.fioFileMegabytes };
  const materials = await ensureMaterials();
  for (const place of [sprite, host]) {
    say(`preparing the disk rows: ${place.name}`);
    await layOutFile(place, size.fileMegabytes);
    await putTrees(place, materials);
  }
  const id = sprite.sprite.id ?? "";
  const turns = {
    ...{ sprite, directory, emit, pids: await backgroundPids(bench) },
    cacheFile: join(spriteCacheDirectory(bench.server.places, id), "blocks"),
  };
  for (const workload of [...fioWorkloads(size), ...hostWorkloads(plan)]) {
    const row = `disk.${workload.name}`;
    const rounds = workload.isTree === true ? plan.treeRounds : plan.diskRounds;
    if (bench.wants(row))
      await takeTurns(turns, { workload, peers: [{ place: host, row }], rounds });
  }
}

async function putTrees(place: Place, materials: Materials): Promise<void> {
  await place.put(materials.sourceTar, "source.tar");
  await place.put(materials.npmTar, "npm.tar");
  await place.run(
    "tar -xf npm.tar && rm npm.tar && mkdir -p source && tar -xf source.tar -C source",
  );
}
