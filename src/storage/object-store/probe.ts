import { randomBytes } from "node:crypto";
import { SpriteError } from "../../contract/errors.ts";
import { probeDeadlineMs, probeRacers } from "./limits.ts";
import type { ObjectStore } from "./object-store.ts";

type Check = (store: ObjectStore, directory: string) => Promise<string | null>;

/**
 * Finds out, on keys that nobody else uses, whether a store keeps what everything else relies on: two writers are told apart
 * by create-only puts and compare-and-swap alone. Many stores that speak S3 ignore one of the two.
 *
 * @param options.isDirectory asks only for what a file system may lack, in a few milliseconds: the rest is the kernel's
 * @throws SpriteError bucket_unfit that names what does not hold; whatever the store throws when it cannot be asked
 */
export async function probeObjectStore(
  store: ObjectStore,
  options: { signal?: AbortSignal; isDirectory?: boolean } = {},
): Promise<void> {
  const directory = `probe/${randomBytes(8).toString("hex")}/`;
  const bounded = withOptions(store, { signal: options.signal, deadlineMs: probeDeadlineMs });
  const { isDirectory = false } = options;
  const problems: Array<string | null> = [];
  try {
    const checks = isDirectory ? [linkAndLock] : [createOnly, compareAndSwap, readAfterWrite];
    problems.push(...(await Promise.all(checks.map((check) => check(bounded, directory)))));
    if (!isDirectory) problems.push(await listAfterWrite(bounded, directory));
  } finally {
    // What a failure leaves are a few bytes under a name of their own.
    await bounded.deletePrefix(directory).catch(() => undefined);
  }
  const found = problems.filter((problem) => problem !== null);
  if (found.length === 0) return;
  const message = `the bucket cannot be used: ${found.join("; ")}`;
  throw new SpriteError("bucket_unfit", message, { details: { problems: found } });
}

/** A directory store needs link(2) and flock(2), which not every network file system has. */
const linkAndLock: Check = async (store, directory) => {
  const results = await Promise.all([
    store.putIfAbsent(`${directory}create`, Buffer.from("one")),
    store.putIfAbsent(`${directory}create`, Buffer.from("other")),
    store.swap(`${directory}swap`, Buffer.from("stale"), { etag: "another" }),
  ]);
  if (results[2] !== null) return "a swap of a file that is not there succeeded";
  return results[0] !== results[1] ? null : "two create-only puts of one file succeeded, or none";
};

/** Writers that race for one name: one of them gets it, and a late one does not. */
const createOnly: Check = async (store, directory) => {
  const key = `${directory}create`;
  const bodies = Array.from({ length: probeRacers }, (_, index) => Buffer.from(`writer ${index}`));
  const results = await Promise.all(bodies.map((body) => store.putIfAbsent(key, body)));
  const winners = bodies.filter((_, index) => results[index] === true);
  if (winners.length !== 1) {
    return `of ${probeRacers} create-only puts to one key ${winners.length} succeeded, not 1 (If-None-Match)`;
  }
  if (await store.putIfAbsent(key, Buffer.from("late"))) {
    return "a create-only put replaced an object that was there (If-None-Match)";
  }
  const stored = await store.get(key);
  if (stored !== null && Buffer.compare(stored, winners[0] ?? new Uint8Array()) === 0) return null;
  return "the object is not the one whose create-only put succeeded (If-None-Match)";
};

const compareAndSwap: Check = async (store, directory) => {
  const key = `${directory}swap`;
  const first = await store.swap(key, Buffer.from("first"), { etag: null });
  const second = first && (await store.swap(key, Buffer.from("second"), first));
  if (first === null || second === null) {
    return "a swap from the newest tag was refused (If-Match; see docs/object-stores.md for ?etags=)";
  }
  if ((await store.swap(key, Buffer.from("stale"), first)) !== null) {
    return "a swap from an old tag succeeded (If-Match)";
  }
  const racers = Array.from({ length: probeRacers }, (_, index) =>
    store.swap(key, Buffer.from(`racer ${index}`), second),
  );
  const winners = (await Promise.all(racers)).filter((result) => result !== null);
  if (winners.length === 1) return null;
  return `of ${probeRacers} swaps from one tag ${winners.length} succeeded, not 1 (If-Match)`;
};

const readAfterWrite: Check = async (store, directory) => {
  const key = `${directory}read`;
  for (const body of ["one", "two"]) {
    await store.put(key, Buffer.from(body));
    const seen = await store.get(key);
    if (seen === null || Buffer.from(seen).toString() !== body) {
      return "a read did not see the write before it";
    }
  }
  const part = await store.getRange(key, 1, 1);
  return part !== null && Buffer.from(part).toString() === "w"
    ? null
    : "a ranged read gave other bytes";
};

const listAfterWrite: Check = async (store, directory) => {
  const keys: string[] = [];
  for await (const { key } of store.list(directory)) keys.push(key.slice(directory.length));
  if (keys.join() === "create,read,swap") return null;
  return `a list did not show what was just written, in order (${keys.length} of 3)`;
};

/** The same store with options that every call gets. */
function withOptions(
  store: ObjectStore,
  options: { signal: AbortSignal | undefined; deadlineMs: number },
): ObjectStore {
  return {
    get: (key) => store.get(key, options),
    getRange: (key, offset, length) => store.getRange(key, offset, length, options),
    getWithEtag: (key) => store.getWithEtag(key, options),
    put: (key, bytes) => store.put(key, bytes, options),
    putIfAbsent: (key, bytes) => store.putIfAbsent(key, bytes, options),
    swap: (key, bytes, expected) => store.swap(key, bytes, expected, options),
    putFile: (key, path) => store.putFile(key, path, options),
    list: (prefix, given) => store.list(prefix, { ...given, ...options }),
    deleteMany: (keys) => store.deleteMany(keys, options),
    deletePrefix: (prefix) => store.deletePrefix(prefix, options),
    statistics: () => store.statistics(),
  };
}
