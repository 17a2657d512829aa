/**
 * The bucket as one process sees it: each request takes time on its way there and back, and a process that dies
 * meanwhile does not know whether it arrived, or arrives yet.
 */
import type {
  CallOptions,
  ListedObject,
  ListOptions,
  ObjectStore,
  ObjectStoreStatistics,
  TaggedObject,
} from "../../../object-store/object-store.ts";
import type { MemoryObjectStore } from "../../../object-store/testing/memory-object-store.ts";
import { never, type SimulatedProcess } from "./simulated-process.ts";

const travelMsMax = 20;
/** How late a dead process's request can still arrive. */
const lateMsMax = 3_000;
const lateShare = 0.4;

export class SimulatedStore implements ObjectStore {
  readonly #store: MemoryObjectStore;
  readonly #process: SimulatedProcess;

  constructor(store: MemoryObjectStore, process: SimulatedProcess) {
    this.#store = store;
    this.#process = process;
  }

  async #request<T>(what: string, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const process = this.#process;
    const { scheduler } = process;
    if (process.isDead) return await never();
    signal?.throwIfAborted();
    let hasDied = false;
    const moment = process.takeStep(what);
    if (moment !== null) {
      hasDied = true;
      process.crash(process.plan?.kind ?? "process");
      if (moment === "before" || !scheduler.chance(lateShare)) return await never();
    }
    const delayMs = hasDied ? scheduler.random() * lateMsMax : scheduler.random() * travelMsMax;
    // On its way it belongs to nobody: not to a process that stands still, nor to a dead one.
    const arrived = new Promise<T>((resolve, reject) => {
      scheduler.schedule(delayMs, null, () => void scheduler.leave(work).then(resolve, reject));
    });
    arrived.catch(() => undefined);
    const answer = await this.#orAborted(arrived, signal);
    await process.wait(`answer ${what}`, scheduler.random() * travelMsMax, () => undefined);
    if ("error" in answer) throw answer.error;
    return answer.value;
  }

  /** Whoever gives a request up does not take it back. */
  async #orAborted<T>(
    arrived: Promise<T>,
    signal?: AbortSignal,
  ): Promise<{ value: T } | { error: unknown }> {
    const settled = arrived.then(
      (value) => ({ value }),
      (error: unknown) => ({ error }),
    );
    if (signal === undefined) return await settled;
    const aborted = new Promise<{ error: unknown }>((resolve) => {
      signal.addEventListener("abort", () => resolve({ error: signal.reason }), { once: true });
    });
    return await Promise.race([settled, aborted]);
  }

  get(key: string, options?: CallOptions): Promise<Uint8Array | null> {
    return this.#request(`get ${key}`, () => this.#store.get(key), options?.signal);
  }

  getRange(
    key: string,
    offsetBytes: number,
    lengthBytes: number,
    options?: CallOptions,
  ): Promise<Uint8Array | null> {
    const what = `get ${key} ${offsetBytes}+${lengthBytes}`;
    const work = (): Promise<Uint8Array | null> =>
      this.#store.getRange(key, offsetBytes, lengthBytes);
    return this.#request(what, work, options?.signal);
  }

  getWithEtag(key: string, options?: CallOptions): Promise<TaggedObject | null> {
    return this.#request(`get ${key} etag`, () => this.#store.getWithEtag(key), options?.signal);
  }

  put(key: string, bytes: Uint8Array, options?: CallOptions): Promise<void> {
    const copy = new Uint8Array(bytes);
    return this.#request(`put ${key}`, () => this.#store.put(key, copy), options?.signal);
  }

  putIfAbsent(key: string, bytes: Uint8Array, options?: CallOptions): Promise<boolean> {
    const copy = new Uint8Array(bytes);
    const work = (): Promise<boolean> => this.#store.putIfAbsent(key, copy);
    return this.#request(`create ${key} ${bytes.length}`, work, options?.signal);
  }

  swap(
    key: string,
    bytes: Uint8Array,
    expected: { etag: string | null },
    options?: CallOptions,
  ): Promise<{ etag: string } | null> {
    const copy = new Uint8Array(bytes);
    const work = (): Promise<{ etag: string } | null> => this.#store.swap(key, copy, expected);
    return this.#request(`swap ${key}`, work, options?.signal);
  }

  putFile(key: string, localPath: string, options?: CallOptions): Promise<void> {
    const bytes = this.#process.disk.file(localPath)?.content();
    const work = (): Promise<void> => this.#putContent(key, bytes);
    return this.#request(`put file ${key}`, work, options?.signal);
  }

  async #putContent(key: string, bytes: Buffer | undefined): Promise<void> {
    if (bytes === undefined) throw new Error(`there is no file to put as ${key}`);
    await this.#store.putNamed(key, bytes);
  }

  async *list(prefix: string, options?: ListOptions): AsyncGenerator<ListedObject> {
    const { startAfter } = options ?? {};
    const listed = await this.#request(
      `list ${prefix} ${startAfter ?? ""}`,
      () => this.#listNow(prefix, startAfter),
      options?.signal,
    );
    yield* listed;
  }

  async #listNow(prefix: string, startAfter: string | undefined): Promise<ListedObject[]> {
    const listed: ListedObject[] = [];
    for await (const object of this.#store.list(prefix, { startAfter })) listed.push(object);
    return listed;
  }

  deleteMany(keys: readonly string[], options?: CallOptions): Promise<void> {
    if (keys.length === 0) return Promise.resolve();
    const work = (): Promise<void> => this.#store.deleteMany(keys);
    return this.#request(`delete ${keys.join(" ")}`, work, options?.signal);
  }

  async deletePrefix(prefix: string, options?: CallOptions): Promise<void> {
    const keys: string[] = [];
    for await (const { key } of this.list(prefix, options)) keys.push(key);
    await this.deleteMany(keys, options);
  }

  statistics(): ObjectStoreStatistics {
    return this.#store.statistics();
  }
}
