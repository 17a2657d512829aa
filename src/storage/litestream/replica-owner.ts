/**
 * `<prefix>/owner.json`: which server writes a database's chain. It keeps a second server from taking over
 * a database whose server lives; that two never write one history is the chain's own doing.
 */
import { SpriteError } from "../../contract/errors.ts";
import type { ObjectStore } from "../object-store/object-store.ts";

export interface OwnerOptions {
  store: ObjectStore;
  /** Of the database's chain. */
  prefix: string;
  /** Our own id. */
  server: string;
  /** Whether that other server lives; may take as long as a lease lasts. */
  isServerAlive: (server: string, signal?: AbortSignal) => Promise<boolean>;
  signal?: AbortSignal | undefined;
}

const formatVersion = 1;

/**
 * Makes this server the owner. True when it was not so before: then somebody else may still write.
 * @throws SpriteError conflict when the owner lives
 */
export async function claimReplica(options: OwnerOptions): Promise<boolean> {
  const { store, prefix, server, isServerAlive, signal } = options;
  const key = `${prefix}/owner.json`;
  const found = await store.getWithEtag(key, { signal });
  const owner = found === null ? null : decodeOwner(found.bytes, key);
  if (owner === server) return false;
  if (owner !== null && (await isServerAlive(owner, signal))) throw ownedByOther(prefix, owner);
  const bytes = Buffer.from(`${JSON.stringify({ formatVersion, server })}\n`);
  const swapped = await store.swap(key, bytes, { etag: found?.etag ?? null }, { signal });
  if (swapped !== null) return true;
  // Somebody was faster, or it was us and the answer is lost.
  const now = await store.get(key, { signal });
  const winner = now === null ? "another server" : decodeOwner(now, key);
  if (winner === server) return true;
  throw ownedByOther(prefix, winner);
}

function decodeOwner(bytes: Uint8Array, key: string): string {
  try {
    const fields = JSON.parse(Buffer.from(bytes).toString()) as Record<string, unknown>;
    const { server } = fields;
    if (fields["formatVersion"] === formatVersion && typeof server === "string") return server;
  } catch {
    // Said below, as for any other content.
  }
  throw new SpriteError("storage_failure", `${key} is damaged`);
}

function ownedByOther(prefix: string, holder: string): SpriteError {
  const message = `${prefix} in the bucket belongs to the server ${holder}, which is running: stop it, or use another bucket`;
  return new SpriteError("conflict", message, { details: { holder } });
}
