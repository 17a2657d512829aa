/**
 * `servers/<id>.json`: that one server lives (docs/formats/head.md, "Servers"). A server renews its own
 * record; whoever wants what it holds watches whether the record still changes.
 */
import { SpriteError } from "../../contract/errors.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import type { LeaseClock } from "./clock.ts";
import { serverLookMs, serverTtlMs } from "./limits.ts";

export interface ServerRecord {
  formatVersion: 1;
  server: string;
  /** Random per process: tells two processes of one data directory apart. */
  incarnation: string;
  /** Of the machine it runs on: tells a copied data directory from a restarted server. */
  machine: string;
  /** One more with every renewal, so that each renewal changes the object. */
  sequence: number;
  /** The server has stopped in order and holds nothing. */
  isReleased: boolean;
  /** For people: ms since the epoch. */
  renewedAtMs: number;
}

export function serverKey(server: string): string {
  return `servers/${server}.json`;
}

export function encodeServerRecord(record: ServerRecord): Uint8Array {
  return Buffer.from(`${JSON.stringify(record)}\n`);
}

/** @throws SpriteError storage_failure */
export function decodeServerRecord(bytes: Uint8Array): ServerRecord {
  let fields: Record<string, unknown>;
  try {
    fields = JSON.parse(Buffer.from(bytes).toString()) as Record<string, unknown>;
  } catch (error) {
    throw new SpriteError("storage_failure", "a server's record is no JSON", { cause: error });
  }
  const isText = (name: string): boolean => typeof fields[name] === "string";
  const isNumber = (name: string): boolean => Number.isSafeInteger(fields[name]);
  const isSound =
    fields["formatVersion"] === 1 &&
    ["server", "incarnation", "machine"].every(isText) &&
    ["sequence", "renewedAtMs"].every(isNumber) &&
    typeof fields["isReleased"] === "boolean";
  if (!isSound) throw new SpriteError("storage_failure", "a server's record is damaged");
  return fields as unknown as ServerRecord;
}

/**
 * Waits until it is known whether the server lives: its record is gone or released (dead at once), changes
 * (alive), or stays the same for `serverTtlMs` of our own clock (dead, and marked as released; a server that
 * lives after all writes over that with its next renewal). No wall clock is compared.
 */
export async function isServerAlive(options: {
  store: ObjectStore;
  server: string;
  clock: LeaseClock;
  signal?: AbortSignal | undefined;
}): Promise<boolean> {
  const { store, server, clock, signal } = options;
  const key = serverKey(server);
  const first = await store.getWithEtag(key, { signal });
  if (first === null) return false;
  const record = decodeServerRecord(first.bytes);
  if (record.isReleased) return false;
  const seenAtMs = clock.monotonicMs();
  while (clock.monotonicMs() - seenAtMs < serverTtlMs) {
    await clock.wait(serverLookMs, signal);
    const next = await store.getWithEtag(key, { signal });
    if (next === null || decodeServerRecord(next.bytes).isReleased) return false;
    if (next.etag !== first.etag) return true;
  }
  // Written down, so that nobody has to wait for this once more; a renewal in this very moment wins.
  const released = { ...record, sequence: record.sequence + 1, isReleased: true };
  const etag = first.etag;
  if ((await store.swap(key, encodeServerRecord(released), { etag }, { signal })) !== null)
    return false;
  const now = await store.get(key, { signal });
  return now !== null && !decodeServerRecord(now).isReleased;
}
