/** Local state that must not be used: kept where a person can look at it, with a note that says why. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { setAside } from "../chunk-cache/cache-files.ts";
import type { LeaseClock } from "../lease/clock.ts";
import { replaceFile } from "../local-files.ts";
import type { LocalState } from "./local-state.ts";

export interface OrphanOptions {
  prefix: string;
  cacheDirectory: string;
  clock: Pick<LeaseClock, "nowMs">;
}

/** Moves everything local to `orphan-<time>/` and returns where. */
export async function setAsideAll(
  options: OrphanOptions,
  found: { reason: string; state: Readonly<LocalState> | null },
): Promise<string> {
  const { prefix, cacheDirectory, clock } = options;
  const nowMs = clock.nowMs();
  const orphan = setAside(cacheDirectory, localNames(cacheDirectory), nowMs);
  const note = {
    formatVersion: 1,
    volume: prefix,
    reason: found.reason,
    setAsideAt: new Date(nowMs).toISOString(),
    // What had reached the bucket; the map, the dirty blocks and the staged segments beside this are newer.
    syncedCut: found.state?.syncedCut ?? null,
    txid: found.state?.txid ?? null,
    generation: found.state?.head?.value.generation ?? null,
  };
  await replaceFile(join(orphan, "orphan.json"), `${JSON.stringify(note, null, 2)}\n`);
  return orphan;
}

/** What lies in a cache directory, orphans excepted. */
export function localNames(cacheDirectory: string): string[] {
  return readdirSync(cacheDirectory).filter((name) => !name.startsWith("orphan-"));
}
