import { hash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { SpriteError } from "../../../contract/errors.ts";
import { outcomeUnknown } from "../call-scope.ts";
import { checkKey, checkPrefix } from "../object-key.ts";
import type {
  CallOptions,
  ListedObject,
  ListOptions,
  ObjectStore,
  ObjectStoreStatistics,
  RequestKind,
  TaggedObject,
} from "../object-store.ts";
import { storeError } from "../store-error.ts";
import { FaultScript, type Fault } from "./fault-script.ts";

interface StoredObject {
  bytes: Uint8Array;
  modifiedAtMs: number;
  /** Computed when somebody asks. */
  etag: string | null;
}

/** Decides a write by what is there; false refuses it. */
type Condition = (current: StoredObject | undefined) => boolean;

interface LateWrite {
  dueRequest: number;
  deliver: () => void;
}

/** Changes that a stale list can take back. */
const rememberedChangesMax = 64;

/**
 * Objects in memory, with the strictness of AWS S3 and its failures by a script (fault-script.ts). It keeps no timers and reads no clock
 * but the injected one, so that a simulation decides everything, and 20,000 runs of it take seconds.
 *
 * Bytes are copied on the way in and out: whoever changes a buffer afterwards changes nothing here.
 */
export class MemoryObjectStore implements ObjectStore {
  readonly faults: FaultScript;
  /** Hears of every change when it takes effect: an object's new bytes and those before; null when there are none. */
  onChange: ((key: string, bytes: Uint8Array | null, before: Uint8Array | null) => void) | null =
    null;
  readonly #now: () => number;
  readonly #delay: (delayMs: number) => Promise<void>;
  readonly #objects = new Map<string, StoredObject>();
  readonly #requests: Record<RequestKind, number> = { get: 0, put: 0, list: 0, delete: 0 };
  #requestCount = 0;
  #readBytes = 0;
  #writtenBytes = 0;
  #lateWrites: LateWrite[] = [];
  #changes: Array<{ key: string; before: StoredObject | undefined }> = [];

  /** @param options.delay is called for slow requests only; without it they take no time */
  constructor(
    options: {
      now?: () => number;
      random?: () => number;
      delay?: (delayMs: number) => Promise<void>;
      faults?: FaultScript;
    } = {},
  ) {
    this.#now = options.now ?? Date.now;
    this.#delay = options.delay ?? (async () => undefined);
    const random = options.random ?? Math.random;
    this.faults = options.faults ?? new FaultScript([], { random, now: this.#now });
  }

  /** What is there, for a checker: no request, no fault, not a copy. */
  contents(): ReadonlyMap<string, Uint8Array> {
    return new Map([...this.#objects].map(([key, { bytes }]) => [key, bytes]));
  }

  /** Delivers every write that is on its way. */
  settle(): void {
    for (const { deliver } of this.#lateWrites.splice(0)) deliver();
  }

  async get(key: string, options: CallOptions = {}): Promise<Uint8Array | null> {
    return (await this.#read(key, options))?.bytes ?? null;
  }

  async getRange(
    key: string,
    offsetBytes: number,
    lengthBytes: number,
    options: CallOptions = {},
  ): Promise<Uint8Array | null> {
    const range = { from: offsetBytes, to: offsetBytes + lengthBytes };
    return (await this.#read(key, options, range))?.bytes ?? null;
  }

  async getWithEtag(key: string, options: CallOptions = {}): Promise<TaggedObject | null> {
    const read = await this.#read(key, options);
    return read && { bytes: read.bytes, etag: etagOf(read.object) };
  }

  async put(key: string, bytes: Uint8Array, options: CallOptions = {}): Promise<void> {
    checkKey(key);
    await this.#write(key, bytes, () => true, options);
  }

  async putIfAbsent(key: string, bytes: Uint8Array, options: CallOptions = {}): Promise<boolean> {
    checkKey(key);
    const isAbsent: Condition = (current) => current === undefined;
    return (await this.#write(key, bytes, isAbsent, options)) !== null;
  }

  async swap(
    key: string,
    bytes: Uint8Array,
    expected: { etag: string | null },
    options: CallOptions = {},
  ): Promise<{ etag: string } | null> {
    checkKey(key);
    const isExpected: Condition = (current) =>
      current === undefined ? expected.etag === null : etagOf(current) === expected.etag;
    const written = await this.#write(key, bytes, isExpected, options);
    return written && { etag: etagOf(written) };
  }

  async putFile(key: string, localPath: string, options: CallOptions = {}): Promise<void> {
    checkKey(key);
    options.signal?.throwIfAborted();
    const bytes = await readFile(localPath).catch((error: unknown) => {
      throw storeError(`put file as object ${key}`, error);
    });
    await this.putNamed(key, bytes, options);
  }

  /** As `putFile`, of a file that is in memory. */
  async putNamed(key: string, bytes: Uint8Array, options: CallOptions = {}): Promise<void> {
    if (await this.putIfAbsent(key, bytes, options)) return;
    if (this.#objects.get(key)?.bytes.length !== bytes.length) {
      throw new SpriteError("storage_failure", `object ${key} exists with another size`);
    }
  }

  async *list(prefix: string, options: ListOptions = {}): AsyncGenerator<ListedObject> {
    checkPrefix(prefix);
    const { startAfter = "" } = options;
    if (startAfter !== "") checkKey(startAfter);
    const fault = await this.#begin("list", [prefix], options);
    if (isLost(fault)) throw refusal("list", prefix, fault);
    const objects = fault?.kind === "stale-list" ? this.#before(fault.changes) : this.#objects;
    const keys = [...objects.keys()].filter((key) => key.startsWith(prefix) && key > startAfter);
    const listed = keys.sort().map((key) => [key, objects.get(key)] as const);
    if (fault?.kind === "truncated") listed.length = Math.floor(listed.length / 2);
    for (const [key, object] of listed) {
      if (object === undefined) continue;
      yield { key, sizeBytes: object.bytes.length, modifiedAtMs: object.modifiedAtMs };
      options.signal?.throwIfAborted();
    }
    if (fault?.kind === "truncated") throw refusal("list", prefix, fault);
  }

  async deleteMany(keys: readonly string[], options: CallOptions = {}): Promise<void> {
    for (const key of keys) checkKey(key);
    if (keys.length === 0) return;
    const fault = await this.#begin("delete", keys, options);
    if (fault !== null && ["unavailable", "lost-request"].includes(fault.kind)) {
      throw refusal("delete", keys[0] ?? "", fault);
    }
    const isPartial = fault?.kind === "partial-delete";
    for (const key of isPartial ? keys.slice(0, Math.ceil(keys.length / 2)) : keys) {
      this.#set(key, undefined);
    }
    if (isPartial || isLost(fault)) throw refusal("delete", keys[0] ?? "", fault);
  }

  /** As a bucket does it: a list, then deletes by the thousand, any of which can fail. */
  async deletePrefix(prefix: string, options: CallOptions = {}): Promise<void> {
    checkPrefix(prefix);
    if (!prefix.endsWith("/")) {
      throw new SpriteError("invalid_request", `prefix ${prefix} to delete must end in a slash`);
    }
    const keys: string[] = [];
    for await (const { key } of this.list(prefix, options)) keys.push(key);
    for (let at = 0; at < keys.length; at += 1000) {
      await this.deleteMany(keys.slice(at, at + 1000), options);
    }
  }

  statistics(): ObjectStoreStatistics {
    return {
      requests: { ...this.#requests },
      readBytes: this.#readBytes,
      writtenBytes: this.#writtenBytes,
    };
  }

  async #read(
    key: string,
    options: CallOptions,
    range = { from: 0, to: Infinity },
  ): Promise<{ bytes: Uint8Array; object: StoredObject } | null> {
    checkKey(key);
    const fault = await this.#begin("get", [key], options);
    if (isLost(fault) || fault?.kind === "truncated") throw refusal("get", key, fault);
    const object = this.#objects.get(key);
    if (object === undefined) return null;
    const bytes = object.bytes.slice(range.from, range.to);
    this.#readBytes += bytes.length;
    return { bytes, object };
  }

  /** What is now stored, or null when the condition refused it. */
  async #write(
    key: string,
    source: Uint8Array,
    condition: Condition,
    options: CallOptions,
  ): Promise<StoredObject | null> {
    // Not `slice`, by which a Buffer gives a view.
    const bytes = new Uint8Array(source);
    const deliver = (): StoredObject | null => this.#deliver(key, bytes, condition);
    const { deadlineMs = Infinity } = options;
    const fault = await this.#begin("put", [key], options);
    switch (fault?.kind) {
      case "unavailable":
        throw refusal("put", key, fault);
      case "slow":
        if (fault.delayMs <= deadlineMs) return deliver();
        this.#deliverLater(deliver, 3);
        throw outcomeUnknown(`put object ${key}`, refusal("put", key, fault));
      case "duplicate":
        this.#deliverLater(deliver, fault.afterRequests);
        return deliver();
      case "late":
        this.#deliverLater(deliver, fault.afterRequests);
        return this.#askWhatBecameOf(key, bytes, { fault, isReadBack: true, condition });
      case "lost-reply":
        deliver();
        return this.#askWhatBecameOf(key, bytes, {
          fault,
          isReadBack: fault.isReadBack,
          condition,
        });
      case "lost-request":
        return this.#askWhatBecameOf(key, bytes, {
          fault,
          isReadBack: fault.isReadBack,
          condition,
        });
      default:
        return deliver();
    }
  }

  #deliver(key: string, bytes: Uint8Array, condition: Condition): StoredObject | null {
    if (!condition(this.#objects.get(key))) return null;
    const object = { bytes, modifiedAtMs: this.#now(), etag: null };
    this.#set(key, object);
    this.#writtenBytes += bytes.length;
    return object;
  }

  /** A write without an answer: reads the object, which settles it unless the write may still come. */
  async #askWhatBecameOf(
    key: string,
    bytes: Uint8Array,
    parts: { fault: Fault; isReadBack: boolean; condition: Condition },
  ): Promise<StoredObject | null> {
    const { fault, isReadBack, condition } = parts;
    const cause = refusal("put", key, fault);
    const seen = isReadBack ? await this.#read(key, {}).catch(() => null) : null;
    if (seen !== null && Buffer.compare(seen.bytes, bytes) === 0) return seen.object;
    // As long as the condition holds, the write may still arrive.
    if (seen === null || condition(seen.object)) throw outcomeUnknown(`put object ${key}`, cause);
    return null;
  }

  /** Counts a request, lets late writes arrive, and says what befalls this one. A slow one has been slow when this returns. */
  async #begin(
    kind: RequestKind,
    keys: readonly string[],
    { signal, deadlineMs = Infinity }: CallOptions,
  ): Promise<Fault | null> {
    signal?.throwIfAborted();
    this.#requests[kind]++;
    this.#requestCount++;
    this.#deliverDue();
    const fault = this.faults.faultFor(kind, keys);
    if (fault?.kind !== "slow") return fault;
    await this.#delay(Math.min(fault.delayMs, deadlineMs));
    signal?.throwIfAborted();
    if (fault.delayMs > deadlineMs && kind !== "put") {
      throw new SpriteError("deadline_exceeded", `${kind} ${keys[0]}: took too long`);
    }
    return fault;
  }

  #deliverDue(): void {
    if (this.#lateWrites.length === 0) return;
    const due = this.#lateWrites.filter(({ dueRequest }) => dueRequest <= this.#requestCount);
    this.#lateWrites = this.#lateWrites.filter((late) => !due.includes(late));
    for (const { deliver } of due) deliver();
  }

  #deliverLater(deliver: () => void, afterRequests: number): void {
    // One more than asked: the request that asks what became of it must not be the one that brings it.
    this.#lateWrites.push({ dueRequest: this.#requestCount + afterRequests + 1, deliver });
  }

  #set(key: string, object: StoredObject | undefined): void {
    const before = this.#objects.get(key);
    if (object === undefined) this.#objects.delete(key);
    else this.#objects.set(key, object);
    this.onChange?.(key, object?.bytes ?? null, before?.bytes ?? null);
    this.#changes.push({ key, before });
    if (this.#changes.length > 2 * rememberedChangesMax) {
      this.#changes = this.#changes.slice(-rememberedChangesMax);
    }
  }

  /** The objects as they were some changes ago. */
  #before(changes: number): ReadonlyMap<string, StoredObject> {
    const objects = new Map(this.#objects);
    for (const { key, before } of this.#changes.slice(-changes).toReversed()) {
      if (before === undefined) objects.delete(key);
      else objects.set(key, before);
    }
    return objects;
  }
}

function isLost(fault: Fault | null): boolean {
  return fault !== null && ["unavailable", "lost-request", "lost-reply"].includes(fault.kind);
}

/** Of the content, as S3 does. */
function etagOf(object: StoredObject): string {
  return (object.etag ??= hash("md5", object.bytes, "hex"));
}

function refusal(what: string, key: string, fault: Fault | null): SpriteError {
  return new SpriteError("storage_failure", `${what} ${key}: injected fault ${fault?.kind}`);
}
