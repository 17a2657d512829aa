/** What each object below a volume's prefix is for, told by its name and by what the volume's map says. */
import type { ListedObject } from "../object-store/object-store.ts";

export const objectClasses = ["live", "metadata", "forks", "pending", "leaked", "unknown"] as const;

/**
 * - `live`: the map names it.
 * - `metadata`: the head, the chain of the map, markers.
 * - `forks`: only forks of the volume need it.
 * - `pending`: the volume's writer may come to name it yet, or is about to delete it.
 * - `leaked`: nobody needs it, and nobody else would delete it.
 * - `unknown`: of a name that means nothing here; left alone.
 */
export type ObjectClass = (typeof objectClasses)[number];

export interface ObjectCount {
  count: number;
  sizeBytes: number;
}

export type ObjectCounts = Record<ObjectClass, ObjectCount>;

/** All that decides about the objects of one volume. */
export interface ObjectFacts {
  prefix: string;
  /** Segments of the map's own, by key below the prefix; those that are garbage are named no more. */
  segments: ReadonlyMap<string, { isGarbage: boolean }>;
  /** Keys below the prefix that forks need. */
  pinned: Pick<ReadonlySet<string>, "has">;
  /** Nobody holds the volume, so nobody has anything in hand that the bucket's map does not name. */
  isReleased: boolean;
  /** When the newest transaction came into the bucket. */
  txidAtMs: number;
  /** The key below the prefix of a map in the old format that counts still. */
  legacyMapKey: string | null;
  /** False for a volume of the old format: its writer does not know of the new one's ways. */
  isLegacyMapLeftover: boolean;
  graceMs: number;
  nowMs: number;
}

const metadataNames = /^(?:head|origin|sealed|boot|tombstone)\.json$|^forks\/[^/]+\.json$/;
const chainNames = /^meta\/[0-9a-f]{4}\/[0-9a-f]{16}-[0-9a-f]{16}\.ltx$/;
const legacyMapNames = /^meta\/[0-9a-f]{16}-[0-9a-f]{32}$/;
const segmentNames = /^data\/[0-9a-f]{2}\/[0-9a-f]{8}-[0-9a-f]{12}$/;

export function classify(object: ListedObject, facts: ObjectFacts): ObjectClass {
  const name = object.key.slice(facts.prefix.length + 1);
  if (metadataNames.test(name) || chainNames.test(name)) return "metadata";
  if (legacyMapNames.test(name)) {
    if (name === facts.legacyMapKey || !facts.isLegacyMapLeftover) return "metadata";
    return isOld(object, facts) ? "leaked" : "pending";
  }
  if (!segmentNames.test(name)) return "unknown";
  const segment = facts.segments.get(name);
  if (segment !== undefined && !segment.isGarbage) return "live";
  if (facts.pinned.has(name)) return "forks";
  if (segment !== undefined) return isOldGarbage(facts) ? "leaked" : "pending";
  return isOld(object, facts) ? "leaked" : "pending";
}

/**
 * A writer names what it uploads in its next transaction. So what it has not named in one that came so much later was
 * given up; until there is one, it may be about to, however long ago it was, for what an agent uploaded before its
 * machine was switched off, it names when that is on again. Once it has let go of the volume it has named everything.
 * Both times are the bucket's, so that no clock needs to be right.
 */
function isOld({ modifiedAtMs }: ListedObject, facts: ObjectFacts): boolean {
  const { isReleased, txidAtMs, graceMs, nowMs } = facts;
  if (isReleased && modifiedAtMs <= nowMs - graceMs) return true;
  return txidAtMs !== Infinity && modifiedAtMs <= txidAtMs - graceMs;
}

/** Who holds the volume deletes it; nobody does for one that sleeps. States of the past need it for the grace. */
function isOldGarbage({ isReleased, txidAtMs, graceMs, nowMs }: ObjectFacts): boolean {
  return isReleased && txidAtMs <= nowMs - graceMs;
}

export function noCounts(): ObjectCounts {
  const none = (): ObjectCount => ({ count: 0, sizeBytes: 0 });
  return Object.fromEntries(objectClasses.map((name) => [name, none()])) as ObjectCounts;
}

export function addObject(counts: ObjectCounts, name: ObjectClass, sizeBytes: number): void {
  counts[name].count++;
  counts[name].sizeBytes += sizeBytes;
}
