/** The end of a volume's story: nothing fails any more, and everything must be as promised. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Database } from "../../../database.ts";
import { listChainOf, openChain, restoreMap } from "../../map-chain.ts";
import { forgetMs, whilesMax } from "./limits.ts";
import type { Machine } from "./machine.ts";
import { attempt } from "./session.ts";
import { SimulatedStore } from "./simulated-store.ts";
import type { SimulatedVolume } from "./simulated-volume.ts";
import type { World } from "./world.ts";

/** What is there now, and what is there with nothing but the bucket. */
export async function verifyBriefly(volume: SimulatedVolume, machine: Machine): Promise<void> {
  while (volume.session === null) await volume.openOn(machine);
  volume.open.process.plan = null;
  await volume.verify();
  await volume.close();
}

export async function verifyEnd(
  world: World,
  volume: SimulatedVolume,
  machine: Machine,
): Promise<void> {
  while (volume.session === null) await volume.openOn(machine);
  volume.open.process.plan = null;
  await volume.verify();
  // What crashes have left in the bucket is looked for after a crash.
  await volume.kill("process");
  await volume.openOn(machine);
  volume.syncInBackground();
  await volume.open.settle();
  await verifyGarbage(world, volume);
  const { disk } = volume.open.process;
  await volume.close();
  if (volume.lastEnding !== "closed") world.fail(`${volume.name} cannot be closed in order`);
  await verifyChain(world, volume, join(disk.directory, "map.db"));
  // With nothing but the bucket, everything is there.
  const other = world.machines.find((each) => each !== machine) ?? machine;
  await volume.openOn(other);
  if (volume.session === null) return;
  volume.open.process.plan = null;
  await volume.verify();
  await volume.close();
}

/** Everything that nothing names is gone from the bucket after a while; what is stored again meanwhile takes another. */
async function verifyGarbage(world: World, { prefix, name }: SimulatedVolume): Promise<void> {
  const pinned = pinnedSegments(world, prefix);
  const findLeaked = (): string[] =>
    [...world.store.contents().keys()].filter(
      (key) => key.startsWith(`${prefix}/data/`) && !world.checker.isNamed(key) && !pinned.has(key),
    );
  await world.scheduler.sleep(world.setBackMs);
  for (let whiles = 0; whiles < whilesMax; whiles++) {
    await world.scheduler.sleep(forgetMs);
    if (findLeaked().length === 0) return;
  }
  world.fail(`${name} has left ${findLeaked().join(", ")} in the bucket`);
}

/** What forks have named when they were made is kept for as long as they live. */
function pinnedSegments(world: World, prefix: string): Set<string> {
  const pinned = new Set<string>();
  for (const [key, bytes] of world.store.contents()) {
    if (!key.startsWith(`${prefix}/forks/`)) continue;
    const { segments } = JSON.parse(Buffer.from(bytes).toString()) as { segments: unknown };
    if (!Array.isArray(segments)) world.fail(`${key} keeps everything, though its fork is made`);
    for (const segment of segments) pinned.add(`${prefix}/${segment}`);
  }
  return pinned;
}

/** The chain gives the very file that it was made from, through its merged files and one by one. */
async function verifyChain(world: World, volume: SimulatedVolume, path: string): Promise<void> {
  const { prefix, name } = volume;
  const local = readFileSync(path);
  const image = world.checker.image(prefix);
  if (image === null || !local.equals(image)) {
    world.fail(`the map of ${name} is not what its transactions make, one by one`);
  }
  const process = world.machines[0]?.start("checker");
  if (process === undefined) return;
  const store = new SimulatedStore(world.store, process);
  const place = { store, prefix, clock: world.clock };
  const restored = join(process.disk.directory, "restored.db");
  const outcome = await attempt(process, async () => {
    const chain = openChain(place, { writer: "0", files: await listChainOf(place) });
    await restoreMap(place, chain, restored);
  });
  if (outcome.kind !== "done") world.fail(`the chain of ${name} cannot be restored`);
  if (!local.equals(readFileSync(restored))) {
    world.fail(`the map of ${name} is not what its chain restores`);
  }
  const database = Database.open(restored, { readOnly: true });
  const verdict = database.pragma("integrity_check");
  database.close();
  if (verdict !== "ok") world.fail(`the map of ${name} is damaged: ${String(verdict)}`);
  process.exit();
}
