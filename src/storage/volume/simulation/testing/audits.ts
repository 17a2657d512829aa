/** What an operator's programs do beside the volumes: read everything again, and delete what nobody needs. */
import { Collector } from "../../../audit/collect.ts";
import { scrubVolume, type Damage } from "../../../audit/scrub-volume.ts";
import { auditVolume } from "../../../audit/volume-audit.ts";
import { retentionMs } from "./limits.ts";
import type { Machine } from "./machine.ts";
import { attempt } from "./session.ts";
import type { SimulatedProcess } from "./simulated-process.ts";
import { SimulatedStore } from "./simulated-store.ts";
import type { World } from "./world.ts";

/** Reads all of a volume in the bucket again. Null when the bucket did not let it. */
export async function scrub(
  world: World,
  { prefix, machine }: { prefix: string; machine: Machine },
): Promise<Damage[] | null> {
  const damages: Damage[] = [];
  const isThrough = await run(world, machine, async (process) => {
    await scrubVolume({
      store: new SimulatedStore(world.store, process),
      prefix,
      clock: world.clock,
      mapPath: `${process.disk.directory}/scrubbed.db`,
      after: 0,
      onSegment: async () => undefined,
      onDamage: (damage) => damages.push(damage),
    });
  });
  return isThrough ? damages : null;
}

/** What `spritesd gc` does with a volume: the checker hears of what it deletes. */
export async function collect(
  world: World,
  { prefix, machine }: { prefix: string; machine: Machine },
): Promise<void> {
  await run(world, machine, async (process) => {
    const options = {
      store: new SimulatedStore(world.store, process),
      prefix,
      clock: world.clock,
      graceMs: retentionMs,
      nowMs: world.bucketNowMs,
      mapPath: `${process.disk.directory}/audited.db`,
      bytesMax: Infinity,
    };
    const report = await auditVolume(options);
    await new Collector(options).collect(report);
  });
}

/** False when it failed, for which there was a reason, or its machine did. */
async function run(
  world: World,
  machine: Machine,
  work: (process: SimulatedProcess) => Promise<void>,
): Promise<boolean> {
  const process = machine.start("audit");
  world.planCrash(process, 0.05);
  const outcome = await attempt(process, () => work(process));
  process.exit();
  if (outcome.kind === "failed") world.expect(outcome.error, "audit");
  return outcome.kind === "done";
}
