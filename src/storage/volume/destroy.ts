/** Destroys a volume in the bucket, but for what its forks still read of it (docs/formats/head.md, "Forks"). */
import type { ObjectStore } from "../object-store/object-store.ts";
import {
  deleteMarkers,
  getOrigin,
  hasTombstone,
  pinnedByForks,
  putTombstone,
  tombstoneKey,
} from "./fork-markers.ts";

/**
 * Deletes a volume that nobody holds any more; calling it again goes on with what an earlier call left.
 * @throws SpriteError storage_failure
 */
export async function destroyVolume(options: {
  store: ObjectStore;
  prefix: string;
}): Promise<void> {
  const { store, prefix } = options;
  // First, so that a fork that begins now either sees it, or is seen below.
  await putTombstone(store, prefix);
  await finishDestroyed(options);
}

/** Goes on with a destroyed volume: one of its forks has said what it needs, or has gone. */
export async function finishDestroyed(
  options: { store: ObjectStore; prefix: string },
  /** Those whose turn this is a part of: an origin that leads back to one of them is not followed. */
  descendants: readonly string[] = [],
): Promise<void> {
  const { store, prefix } = options;
  const origin = await getOrigin(store, prefix);
  const pinned = await pinnedByForks(options);
  // A fork is being made, and reads the map and perhaps other volumes' segments by it. It comes back here.
  if (pinned.size === Infinity) return;
  if (origin !== null) await letGoOf(store, origin, [...descendants, prefix]);
  if (pinned.size === 0 && !(await hasForks(options))) {
    await store.deletePrefix(`${prefix}/`);
    return;
  }
  const kept = `${prefix}/forks/`;
  const doomed: string[] = [];
  for await (const { key } of store.list(`${prefix}/`)) {
    const isKept =
      key.startsWith(kept) ||
      key === tombstoneKey(prefix) ||
      pinned.has(key.slice(prefix.length + 1));
    if (!isKept) doomed.push(key);
  }
  await store.deleteMany(doomed);
}

/** The volume was a fork: those that it was made from need not keep anything for it. */
async function letGoOf(
  store: ObjectStore,
  origin: { forkId: string; owners: readonly string[] },
  descendants: readonly string[],
): Promise<void> {
  await deleteMarkers(store, origin);
  for (const owner of origin.owners) {
    if (descendants.includes(owner) || !(await hasTombstone(store, owner))) continue;
    await finishDestroyed({ store, prefix: owner }, descendants);
  }
}

async function hasForks({
  store,
  prefix,
}: {
  store: ObjectStore;
  prefix: string;
}): Promise<boolean> {
  for await (const _ of store.list(`${prefix}/forks/`)) return true;
  return false;
}
