/**
 * `boot.json` (docs/formats/residency-log.md): the units that a guest reads first, and where the map had them in the
 * state that the volume was let go in. So whoever opens it elsewhere fetches them while it takes the volume. Only ever
 * a hint: the places are those of just one state of the chain, which it names, and a damaged file is none.
 */
import { createHash } from "node:crypto";
import type { BlockMap } from "../block-map/block-map.ts";
import type { Slice, UnitLayout } from "../block-map/types.ts";
import { bootUnitsMax } from "../chunk-cache/limits.ts";
import type { Head } from "../lease/head.ts";

export const bootFileName = "boot.json";
const formatVersion = 2;
const newline = 10;

/** A state of the chain, as a head that nobody holds names it. */
export type ChainState = Pick<Head, "txid" | "files">;

export interface BootFile {
  /** In the order in which they were read. */
  units: readonly number[];
  /** Of which state the places are; null: of none. */
  stateDigest: string | null;
  /** Where each unit is; null for one of zeros. */
  layouts: ReadonlyMap<number, UnitLayout | null>;
  /** Keys in the bucket of the segments that the layouts name. */
  keys: ReadonlyMap<number, string>;
}

interface Content {
  units: number[];
  stateDigest: string | null;
  layouts: (number[][] | null)[];
  keys: [number, string][];
}

/** Null when the head does not name its files: then nothing says which state it is. */
export function digestOf({ txid, files }: ChainState): string | null {
  if (files.length === 0) return null;
  // Sizes and times too: a bucket that was set back in time may come to the same transaction another way.
  return sha256(Buffer.from(JSON.stringify([txid, files])));
}

/** Of the map as it is in the bucket. */
export function describeBoot(
  units: readonly number[],
  options: { map: BlockMap; prefix: string; state: ChainState },
): BootFile {
  const { map, prefix, state } = options;
  const layouts = new Map<number, UnitLayout | null>();
  const keys = new Map<number, string>();
  for (const unit of units) {
    const layout = map.lookup(map.liveFileId, unit);
    layouts.set(unit, layout);
    for (const { segment } of layout ?? []) {
      if (keys.has(segment)) continue;
      keys.set(segment, `${map.segmentOwner(segment) || prefix}/${map.segmentKey(segment)}`);
    }
  }
  return { units, stateDigest: digestOf(state), layouts, keys };
}

export function encodeBootFile({ units, stateDigest, layouts, keys }: BootFile): Uint8Array {
  const content: Content = {
    units: [...units],
    stateDigest,
    layouts: units.map((unit) => layouts.get(unit)?.map(fieldsOf) ?? null),
    keys: [...keys],
  };
  const bytes = Buffer.from(`${JSON.stringify(content)}\n`);
  const header = { formatVersion, sha256: sha256(bytes) };
  return Buffer.concat([Buffer.from(`${JSON.stringify(header)}\n`), bytes]);
}

/** Null when it is none that can be understood, or not what was written. */
export function decodeBootFile(bytes: Uint8Array | null): BootFile | null {
  if (bytes === null) return null;
  try {
    const end = bytes.indexOf(newline);
    const header = JSON.parse(Buffer.from(bytes.subarray(0, end)).toString()) as {
      formatVersion?: unknown;
      sha256?: unknown;
    };
    const rest = Buffer.from(bytes.subarray(end + 1));
    if (header.formatVersion !== formatVersion || header.sha256 !== sha256(rest)) return null;
    // Nobody but this code makes one whose digest is right.
    const content = JSON.parse(rest.toString()) as Content;
    const layouts = content.units.map((unit, index): [number, UnitLayout | null] => [
      unit,
      content.layouts[index]?.map(sliceOf) ?? null,
    ]);
    return {
      units: content.units.slice(0, bootUnitsMax),
      stateDigest: content.stateDigest,
      layouts: new Map(layouts),
      keys: new Map(content.keys),
    };
  } catch {
    return null;
  }
}

function fieldsOf({ segment, offsetBlocks, stored, live, check }: Slice): number[] {
  return [segment, offsetBlocks, stored, live, check];
}

function sliceOf([
  segment = 0,
  offsetBlocks = 0,
  stored = 0,
  live = 0,
  check = 0,
]: number[]): Slice {
  return { segment, offsetBlocks, stored, live, check };
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
