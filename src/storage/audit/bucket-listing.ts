/** Which volumes a bucket has, and what lies below each. */
import type { ListedObject, ObjectStore } from "../object-store/object-store.ts";

/** Where volumes are; each is one level below. */
const volumeRoots = ["images", "sprites"] as const;
/** What else a bucket holds: databases, servers' leases, what the probe at a start leaves behind. */
const otherRoots = ["orgs/", "servers/", "probe/"];

/** Prefixes of everything that looks like a volume, in order. Found by their first keys: a request each. */
export async function* listVolumePrefixes(
  store: ObjectStore,
  options: { after?: string | null; signal?: AbortSignal | undefined } = {},
): AsyncGenerator<string> {
  const { after = null, signal } = options;
  for (const root of volumeRoots) {
    for (let last = after?.startsWith(`${root}/`) === true ? after : null; ;) {
      if (last === null && after !== null && root < after) break;
      const first = await firstKey(store, `${root}/`, { last, signal });
      if (first === null) break;
      last = first.split("/", 2).join("/");
      yield last;
    }
  }
}

async function firstKey(
  store: ObjectStore,
  root: string,
  { last, signal }: { last: string | null; signal: AbortSignal | undefined },
): Promise<string | null> {
  // No key has a tilde, so this is behind everything below the prefix.
  const startAfter = last === null ? undefined : `${last}/~`;
  for await (const { key } of store.list(root, { startAfter, signal })) return key;
  return null;
}

/** Everything below the prefix, by key. */
export async function listObjects(
  store: ObjectStore,
  prefix: string,
  signal?: AbortSignal,
): Promise<Map<string, ListedObject>> {
  const objects = new Map<string, ListedObject>();
  for await (const object of store.list(prefix, { signal })) objects.set(object.key, object);
  return objects;
}

/** Objects of which this software knows nothing: somebody else's. */
export async function* listStrays(
  store: ObjectStore,
  signal?: AbortSignal,
): AsyncGenerator<ListedObject> {
  const known = [...otherRoots, ...volumeRoots.map((root) => `${root}/`)].toSorted();
  let startAfter: string | undefined;
  for (const root of [...known, null]) {
    for await (const object of store.list("", { startAfter, signal })) {
      if (root !== null && object.key >= root) break;
      yield object;
    }
    startAfter = `${root ?? ""}~`;
  }
}
