/**
 * Who shares a volume's segments (docs/formats/head.md, "Forks"): `<prefix>/forks/<id>.json` at every volume
 * whose segments a fork names, `origin.json` at the fork, and `tombstone.json` at a destroyed volume whose
 * segments forks still need.
 */
import { SpriteError } from "../../contract/errors.ts";
import type { CallOptions, ObjectStore } from "../object-store/object-store.ts";

interface ForkMarker {
  formatVersion: 1;
  /** Prefix of the fork. */
  fork: string;
  /** Keys below the marked volume's prefix; "all" while the fork is being made and they are not known. */
  segments: "all" | readonly string[];
}

interface Origin {
  formatVersion: 1;
  forkId: string;
  /** Prefixes of the volumes that have a marker of this fork, or may. */
  owners: readonly string[];
}

/** Keys below the prefix that forks need; a set that has everything while a fork is being made. */
export async function pinnedByForks(options: {
  store: ObjectStore;
  prefix: string;
  signal?: AbortSignal;
}): Promise<Pick<ReadonlySet<string>, "has" | "size">> {
  const { store, prefix, signal } = options;
  const pinned = new Set<string>();
  for await (const { key } of store.list(`${prefix}/forks/`, { signal })) {
    const bytes = await store.get(key, { signal });
    // Gone since it was listed: its fork was destroyed.
    if (bytes === null) continue;
    const { segments } = decodeMarker(bytes, key);
    if (segments === "all") return { has: () => true, size: Infinity };
    for (const segment of segments) pinned.add(segment);
  }
  return pinned;
}

export async function putMarker(
  store: ObjectStore,
  options: { owner: string; forkId: string; fork: string; segments: ForkMarker["segments"] },
): Promise<void> {
  const { owner, forkId, fork, segments } = options;
  const marker: ForkMarker = { formatVersion: 1, fork, segments };
  await store.put(markerKey(owner, forkId), encode(marker));
}

/** Keys below the owner's prefix that a fork's marker keeps there; null when there is no such marker. */
export async function markedSegments(
  store: ObjectStore,
  options: { owner: string; forkId: string } & CallOptions,
): Promise<ForkMarker["segments"] | null> {
  const { owner, forkId, signal } = options;
  const key = markerKey(owner, forkId);
  const bytes = await store.get(key, { signal });
  return bytes === null ? null : decodeMarker(bytes, key).segments;
}

/**
 * Lets go of what a fork has stopped reading of an owner, in every state of it that can be restored. A marker that was
 * deleted meanwhile stays deleted. Returns how many keys it does not keep any more.
 */
export async function shrinkMarker(
  store: ObjectStore,
  options: { owner: string; forkId: string; needed: ReadonlySet<string> } & CallOptions,
): Promise<number> {
  const { owner, forkId, needed, signal } = options;
  const key = markerKey(owner, forkId);
  const found = await store.getWithEtag(key, { signal });
  if (found === null) return 0;
  const marker = decodeMarker(found.bytes, key);
  if (marker.segments === "all") return 0;
  const segments = marker.segments.filter((segment) => needed.has(segment));
  const surplus = marker.segments.length - segments.length;
  if (surplus === 0) return 0;
  const swapped = await store.swap(key, encode({ ...marker, segments }), found, { signal });
  return swapped === null ? 0 : surplus;
}

export async function deleteMarkers(
  store: ObjectStore,
  origin: Pick<Origin, "forkId" | "owners">,
): Promise<void> {
  await store.deleteMany(origin.owners.map((owner) => markerKey(owner, origin.forkId)));
}

export async function putOrigin(
  store: ObjectStore,
  prefix: string,
  origin: Omit<Origin, "formatVersion">,
): Promise<void> {
  await store.put(originKey(prefix), encode({ formatVersion: 1, ...origin }));
}

/** Null for a volume that is no fork. */
export async function getOrigin(
  store: ObjectStore,
  prefix: string,
  options: CallOptions = {},
): Promise<Origin | null> {
  const bytes = await store.get(originKey(prefix), options);
  if (bytes === null) return null;
  const fields = parse(bytes, originKey(prefix)) as Partial<Origin>;
  const { forkId, owners } = fields;
  const isSound = fields.formatVersion === 1 && typeof forkId === "string" && isListOfTexts(owners);
  if (!isSound) throw damaged(originKey(prefix));
  return { formatVersion: 1, forkId, owners };
}

/** A destroyed volume of which forks still read something. */
export function tombstoneKey(prefix: string): string {
  return `${prefix}/tombstone.json`;
}

export async function putTombstone(store: ObjectStore, prefix: string): Promise<void> {
  await store.put(tombstoneKey(prefix), encode({ formatVersion: 1 }));
}

export async function hasTombstone(store: ObjectStore, prefix: string): Promise<boolean> {
  return (await store.get(tombstoneKey(prefix))) !== null;
}

function markerKey(owner: string, forkId: string): string {
  return `${owner}/forks/${forkId}.json`;
}

function originKey(prefix: string): string {
  return `${prefix}/origin.json`;
}

function decodeMarker(bytes: Uint8Array, key: string): ForkMarker {
  const fields = parse(bytes, key) as Partial<ForkMarker>;
  const { fork, segments } = fields;
  const isSound =
    fields.formatVersion === 1 &&
    typeof fork === "string" &&
    (segments === "all" || isListOfTexts(segments));
  if (!isSound) throw damaged(key);
  return { formatVersion: 1, fork, segments };
}

function isListOfTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((text) => typeof text === "string");
}

function encode(value: object): Uint8Array {
  return Buffer.from(`${JSON.stringify(value)}\n`);
}

function parse(bytes: Uint8Array, key: string): object {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes).toString());
  } catch (error) {
    throw new SpriteError("storage_failure", `${key} is no JSON`, { cause: error });
  }
  if (typeof value !== "object" || value === null) throw damaged(key);
  return value;
}

function damaged(key: string): SpriteError {
  return new SpriteError("storage_failure", `${key} is damaged or of another version`);
}
