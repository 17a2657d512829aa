/**
 * Who reads the disks of sprites that sleep: for each sprite one process, started by the first request and shared by those
 * that follow. It owns nothing of the sprite's, so a start need not wait for it; it only gets no new requests from then on.
 */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Log } from "../base/log.ts";
import { SpriteError } from "../contract/errors.ts";
import type { ReaderStartup } from "../contract/reader-startup.ts";
import { readerIdleMs, readerLeftMsMax, readersMax } from "./limits.ts";
import {
  readerCacheDirectory,
  readerRunDirectory,
  spriteCacheDirectory,
  type Places,
} from "./places.ts";
import { ReaderProcess } from "./reader-process.ts";
import type { Slot, Slots } from "./slots.ts";
import type { Reading, SpriteSpec } from "./worker.ts";

export interface ColdReadersOptions {
  places: Places;
  bucket: string;
  cacheSizeBytesMax: number;
  slots: Pick<Slots, "take" | "release">;
  /** Resolves with where an image is mounted. */
  mountImage: (imageHash: string) => Promise<string>;
  version: string;
  logLevel: string;
  idleMs?: number;
  log: Log;
  /** Tests have their own. */
  startProcess?: (options: ConstructorParameters<typeof ReaderProcess>[0]) => Process;
}

type Process = Pick<ReaderProcess, "ready" | "ended" | "stop">;

interface Reader {
  spriteId: string;
  process: Process;
  /** Requests that are being answered. */
  useCount: number;
  timer: NodeJS.Timeout | null;
  /** It shows what the sprite has left behind. */
  isLeft: boolean;
}

export class ColdReaders {
  readonly #options: ColdReadersOptions;
  readonly #current = new Map<string, Reader>();
  readonly #all = new Set<Reader>();
  /** Sprites whose disks only a start can open. */
  readonly #unreadable = new Set<string>();
  readonly #cleared: Promise<void>;
  #count = 0;
  #isStopped = false;

  constructor(options: ColdReadersOptions) {
    this.#options = options;
    const left = join(options.places.cacheDirectory, "readers");
    // What a server that was killed left there is of no use.
    this.#cleared = rm(left, { recursive: true, force: true }).catch(() => undefined);
  }

  /**
   * Null when only a start of the sprite can show its disk. The caller has seen that it sleeps.
   * @throws SpriteError unavailable: too many are read at a time
   */
  async open(spec: SpriteSpec): Promise<Reading | null> {
    if (this.#isStopped || this.#unreadable.has(spec.id)) return null;
    const reader = this.#current.get(spec.id) ?? (await this.#start(spec));
    reader.useCount += 1;
    if (reader.timer !== null) clearTimeout(reader.timer);
    let isDone = false;
    const done = (): void => {
      if (!isDone) this.#onDone(reader);
      isDone = true;
    };
    try {
      const { socketPath } = await reader.process.ready;
      return { socketPath, done };
    } catch (error) {
      done();
      const { log } = this.#options;
      log.info({ err: error, spriteId: spec.id }, "a sleeping sprite's disk needs a start");
      if (!reader.isLeft) this.#unreadable.add(spec.id);
      return null;
    }
  }

  /** The sprite starts: what its reader shows is of before. */
  leave(spriteId: string): void {
    this.#unreadable.delete(spriteId);
    const reader = this.#current.get(spriteId);
    if (reader === undefined) return;
    this.#current.delete(spriteId);
    reader.isLeft = true;
    this.#rest(reader);
  }

  /** The sprite is destroyed. Settles when nothing of a reader of it is left. */
  async end(spriteId: string): Promise<void> {
    this.leave(spriteId);
    await this.#stopAll([...this.#all].filter((reader) => reader.spriteId === spriteId));
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#stopAll([...this.#all]);
  }

  async #stopAll(readers: readonly Reader[]): Promise<void> {
    for (const reader of readers) {
      reader.isLeft = true;
      if (this.#current.get(reader.spriteId) === reader) this.#current.delete(reader.spriteId);
    }
    await Promise.all(readers.map(({ process }) => process.stop()));
  }

  async #start(spec: SpriteSpec): Promise<Reader> {
    if (this.#all.size >= readersMax) this.#endIdle();
    const { slots, places, log } = this.#options;
    // Ids of the host that no sprite has meanwhile.
    const slot = slots.take();
    const number = ++this.#count;
    const start = this.#options.startProcess ?? ((options) => new ReaderProcess(options));
    const process = start({
      makeStartup: () => this.#startupOf(spec, slot, number),
      identityFile: join(places.runDirectory, "processes", `reader-${number}.json`),
      log: log.child({ spriteId: spec.id }),
    });
    const reader: Reader = {
      ...{ spriteId: spec.id, process },
      ...{ useCount: 0, timer: null, isLeft: false },
    };
    this.#current.set(spec.id, reader);
    this.#all.add(reader);
    void process.ended.then(() => {
      if (reader.timer !== null) clearTimeout(reader.timer);
      if (this.#current.get(spec.id) === reader) this.#current.delete(spec.id);
      this.#all.delete(reader);
      slots.release(slot);
    });
    return reader;
  }

  /** Makes place for one. @throws SpriteError unavailable */
  #endIdle(): void {
    const idle = [...this.#all].find(({ useCount, isLeft }) => useCount === 0 && !isLeft);
    if (idle === undefined) {
      const message = `more than ${readersMax} sleeping sprites are read at a time; try again`;
      throw new SpriteError("unavailable", message, {
        details: { limit: readersMax, retry_after_seconds: 1 },
      });
    }
    this.leave(idle.spriteId);
  }

  #onDone(reader: Reader): void {
    reader.useCount -= 1;
    this.#rest(reader);
  }

  /** Ends it after a while, or at once when nobody needs it; at some time in any case. */
  #rest(reader: Reader): void {
    if (reader.timer !== null) clearTimeout(reader.timer);
    reader.timer = null;
    const { idleMs = readerIdleMs } = this.#options;
    const isUsed = reader.useCount > 0;
    if (isUsed && !reader.isLeft) return;
    const waitMs = isUsed ? readerLeftMsMax : reader.isLeft ? 0 : idleMs;
    reader.timer = setTimeout(() => {
      if (this.#current.get(reader.spriteId) === reader) this.#current.delete(reader.spriteId);
      reader.isLeft = true;
      void reader.process.stop();
    }, waitMs);
    reader.timer.unref();
  }

  async #startupOf(spec: SpriteSpec, slot: Slot, number: number): Promise<ReaderStartup> {
    const { places, bucket, cacheSizeBytesMax, version, logLevel } = this.#options;
    await this.#cleared;
    return {
      ...{ spriteId: spec.id, bucket, cacheSizeBytesMax, version, logLevel },
      spriteCacheDirectory: spriteCacheDirectory(places, spec.id),
      cacheDirectory: readerCacheDirectory(places, spec.id, number),
      runDirectory: readerRunDirectory(places, spec.id, number),
      // Mounted before the reader is born, since it inherits the mounts there are.
      imageDirectory: await this.#options.mountImage(spec.imageHash),
      hostIdBase: slot.hostIdBase,
    };
  }
}
