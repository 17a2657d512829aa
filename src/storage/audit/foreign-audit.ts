/** Compares what a fork reads of other volumes with what lies there, and with what its markers keep there. */
import type { BlockMap } from "../block-map/block-map.ts";
import { getOrigin, markedSegments } from "../volume/fork-markers.ts";
import { listObjects } from "./bucket-listing.ts";
import type { VolumePlace } from "./volume-state.ts";

/** What a marker keeps without need. */
export interface Surplus {
  owner: string;
  forkId: string;
  /** The keys below the owner's prefix that the fork reads still. */
  needed: ReadonlySet<string>;
  /** How many the marker keeps beside these. */
  count: number;
}

/** A segment that the map names and a list did not have. */
export interface Absent {
  id: number;
  key: string;
}

export interface ForeignReport {
  absent: Absent[];
  surplus: Surplus[];
  problems: string[];
}

/** @throws SpriteError storage_failure */
export async function auditForeign(place: VolumePlace, map: BlockMap): Promise<ForeignReport> {
  const { store, prefix, signal } = place;
  const report: ForeignReport = { absent: [], surplus: [], problems: [] };
  const idsByOwner = new Map(map.foreignSegments().map(({ owner, ids }) => [owner, ids]));
  const origin = await getOrigin(store, prefix, signal ? { signal } : {});
  for (const owner of new Set([...idsByOwner.keys(), ...(origin?.owners ?? [])])) {
    const segments = (idsByOwner.get(owner) ?? []).map((id) => ({ id, key: map.segmentKey(id) }));
    if (segments.length > 0) {
      const objects = await listObjects(store, `${owner}/data/`, signal);
      for (const { id, key } of segments) {
        const whole = `${owner}/${key}`;
        if (!objects.has(whole)) report.absent.push({ id, key: whole });
      }
    }
    const forkId = origin?.forkId ?? null;
    const marked = forkId === null ? null : await markedSegments(store, { owner, forkId, signal });
    // While it is being made, it keeps everything.
    if (marked === "all") continue;
    const kept = new Set(marked);
    const unprotected = segments.filter(({ key }) => !kept.has(key)).length;
    if (unprotected > 0) {
      const many = `${unprotected} of the ${segments.length} segments`;
      report.problems.push(`${prefix}: no marker keeps ${many} that it reads of ${owner}`);
    }
    const needed = new Set(segments.map(({ key }) => key));
    const count = [...kept].filter((key) => !needed.has(key)).length;
    if (forkId !== null && count > 0) report.surplus.push({ owner, forkId, needed, count });
  }
  return report;
}
