/**
 * The right to write one volume, held in its `head.json` by compare-and-swap. Taken when the volume is
 * opened and let go when it is closed, with no request in between: whether the holder lives is told by its
 * server's record. It is for liveness. What makes a second writer impossible is that the next TXID can be
 * created only once.
 */
import { SpriteError } from "../../contract/errors.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import type { LeaseClock } from "./clock.ts";
import { FencedError } from "./fenced-error.ts";
import { decodeHead, encodeHead, headKey, type Head, type TaggedHead } from "./head.ts";
import type { LegacyHead } from "./legacy-head.ts";
import { acquireTriesMax } from "./limits.ts";
import { isServerAlive } from "./server-record.ts";

export interface AcquireOptions {
  store: ObjectStore;
  prefix: string;
  /** This server's id. What another process of this server holds is taken over at once: it is dead. */
  server: string;
  /** 16 hex digits, random for every open. */
  writer: string;
  clock: LeaseClock;
  /** The head that this machine wrote last, if it has local state: one request if it is still the newest. */
  saved: TaggedHead | null;
  /** Size of the disk of a volume that does not exist yet. */
  newSizeBytes: number;
  /** Thrown when the volume does not exist; null: it is made. */
  missingError: SpriteError | null;
  /** Hears of a head before an attempt to replace it, and may throw to leave it as it is. */
  onFound?: ((head: Head) => Promise<void>) | undefined;
  /** Hears of a head that nobody holds before it is taken: what it names can be read meanwhile. */
  onFree?: ((head: Head) => void) | undefined;
  signal?: AbortSignal | undefined;
}

/** What can be written into the head while it is held. */
export type HeadChange = Pick<Head, "txid" | "files" | "legacyMap">;

export class VolumeLease {
  readonly #options: AcquireOptions;
  #head: TaggedHead;
  /** What the head said before; null for a volume that did not exist. */
  readonly previous: Head | LegacyHead | null;

  private constructor(
    options: AcquireOptions,
    acquired: { previous: Head | LegacyHead | null; head: TaggedHead },
  ) {
    this.#options = options;
    this.previous = acquired.previous;
    this.#head = acquired.head;
  }

  /**
   * @throws SpriteError conflict with the details `holder` (a live server) and `sinceMs`, storage_failure
   */
  static async acquire(options: AcquireOptions): Promise<VolumeLease> {
    const { saved } = options;
    if (saved !== null) {
      const head = await swapHead(options, acquiredFrom(options, saved.value), saved.etag);
      if (head !== null) return new VolumeLease(options, { previous: saved.value, head });
    }
    for (let tries = 0; tries < acquireTriesMax; tries++) {
      const lease = await VolumeLease.#try(options);
      if (lease !== null) return lease;
    }
    throw new SpriteError("conflict", `${options.prefix} is being opened by others`);
  }

  /** Null when the head has changed meanwhile. */
  static async #try(options: AcquireOptions): Promise<VolumeLease | null> {
    const { store, prefix, signal } = options;
    const found = await store.getWithEtag(headKey(prefix), { signal });
    if (found === null && options.missingError !== null) throw options.missingError;
    const previous = found === null ? null : decodeHead(found.bytes);
    if (previous?.formatVersion === 2) await options.onFound?.(previous);
    if (previous?.formatVersion === 2) await refuseIfHeld(options, previous);
    if (previous?.formatVersion === 2 && previous.holder === null) options.onFree?.(previous);
    const next = acquiredFrom(options, previous);
    const head = await swapHead(options, next, found?.etag ?? null);
    return head === null ? null : new VolumeLease(options, { previous, head });
  }

  get head(): TaggedHead {
    return this.#head;
  }

  /**
   * Asks whether nobody has taken it since: what was read of the volume before this answer is then no later holder's.
   * @throws FencedError, SpriteError storage_failure
   */
  async confirm(): Promise<void> {
    const { store, prefix, writer, signal } = this.#options;
    const found = await store.getWithEtag(headKey(prefix), { signal });
    const value = found === null ? null : decodeHead(found.bytes);
    if (value?.formatVersion !== 2 || value.writer !== writer) throw new FencedError();
  }

  /** Stores new hints. @throws FencedError, SpriteError storage_failure */
  async update(change: HeadChange, signal?: AbortSignal): Promise<void> {
    await this.#write({ ...this.#head.value, ...change }, signal);
  }

  /** Lets go: whoever opens the volume next need not wait. @throws FencedError, SpriteError storage_failure */
  async release(change: HeadChange, signal?: AbortSignal): Promise<void> {
    await this.#write({ ...this.#head.value, ...change, holder: null }, signal);
  }

  async #write(head: Head, signal: AbortSignal | undefined): Promise<void> {
    const next = { ...head, writtenAtMs: this.#options.clock.nowMs() };
    const options = { ...this.#options, signal };
    const written =
      (await swapHead(options, next, this.#head.etag)) ?? (await this.#writeAgain(options, next));
    if (written === null) throw new FencedError();
    this.#head = written;
  }

  /** An earlier attempt of ours may have succeeded with its answer lost: then its tag is the one to know. */
  async #writeAgain(options: AcquireOptions, next: Head): Promise<TaggedHead | null> {
    const { store, prefix, writer, signal } = options;
    const found = await store.getWithEtag(headKey(prefix), { signal });
    if (found === null) return null;
    const value = decodeHead(found.bytes);
    if (value.formatVersion !== 2 || value.writer !== writer) return null;
    return await swapHead(options, next, found.etag);
  }
}

async function refuseIfHeld(options: AcquireOptions, head: Head): Promise<void> {
  const { holder } = head;
  if (holder === null || holder.server === options.server) return;
  if (!(await isServerAlive({ ...options, server: holder.server }))) return;
  throw new SpriteError("conflict", `${options.prefix} is in use on server ${holder.server}`, {
    details: { holder: holder.server, sinceMs: holder.sinceMs },
  });
}

function acquiredFrom(options: AcquireOptions, previous: Head | LegacyHead | null): Head {
  const nowMs = options.clock.nowMs();
  const { server, writer } = options;
  const taken = { holder: { server, writer, sinceMs: nowMs }, writer, writtenAtMs: nowMs };
  if (previous?.formatVersion === 2) {
    return { ...previous, ...taken, generation: previous.generation + 1 };
  }
  return {
    formatVersion: 2,
    generation: 1,
    ...taken,
    txid: 0,
    files: [],
    sizeBytes: previous?.sizeBytes ?? options.newSizeBytes,
    legacyMap: previous?.map ?? null,
  };
}

/** Null when the head is not the expected one any more, unless it is just what we wanted to write. */
async function swapHead(
  options: AcquireOptions,
  head: Head,
  etag: string | null,
): Promise<TaggedHead | null> {
  const { store, prefix, signal } = options;
  const bytes = encodeHead(head);
  const swapped = await store.swap(headKey(prefix), bytes, { etag }, { signal });
  if (swapped !== null) return { value: head, etag: swapped.etag };
  const found = await store.getWithEtag(headKey(prefix), { signal });
  const isOurs = found !== null && Buffer.compare(found.bytes, bytes) === 0;
  return isOurs ? { value: head, etag: found.etag } : null;
}
