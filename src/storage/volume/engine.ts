/**
 * A volume without its threads: everything that the slow lane does, as one object. The store, the
 * clock and the random source come in from outside, so that a simulation drives the very code that
 * ships.
 */
import { setTimeout as delay } from "node:timers/promises";
import { SpriteError } from "../../contract/errors.ts";
import type { BlockMap } from "../block-map/block-map.ts";
import { blockSizeBytes } from "../block-map/geometry.ts";
import { allocatedBytes, type Eviction, invalidateUnits } from "../chunk-cache/eviction.ts";
import type { LocalCache } from "../chunk-cache/local-cache.ts";
import { loadPunchHole, type PunchHole } from "../chunk-cache/punch-hole.ts";
import { recordType } from "../chunk-cache/residency-log.ts";
import { control } from "../chunk-cache/shared-state.ts";
import { systemClock, type LeaseClock } from "../lease/clock.ts";
import { isFenced } from "../lease/fenced-error.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import type { BootList } from "./boot-list.ts";
import type { BucketSide } from "./bucket-side.ts";
import { CheckpointFile } from "./checkpoint-file.ts";
import { beingWritten, Cuts } from "./cuts.ts";
import type { Rewriter } from "./rewriter.ts";
import { durabilityOf, durabilityAttribute } from "./durability.ts";
import { openParts, type EngineParts, type FoundState } from "./engine-parts.ts";
import { closeTimeoutMs, restoreStoreTimeoutMs, retryMsMin } from "./limits.ts";
import type { LiveFile } from "./live-file.ts";
import { ownAttributePrefix } from "./volume-state.ts";
import { setAsideAll } from "./orphan.ts";
import type { SegmentReader } from "./segment-reader.ts";
import type { Staging } from "./staging.ts";
import { StoreLoop } from "./store-loop.ts";
import type { CheckpointRecord, Durability, VolumeOptions, VolumeStatistics } from "./volume.ts";

export interface EngineOptions extends Omit<VolumeOptions, "bucket"> {
  store: ObjectStore;
  onProblem: (problem: Error | null) => void;
  clock?: LeaseClock;
  random?: () => number;
  bootId?: string;
  retentionMs?: number;
  closeTimeoutMs?: number;
  /** Maps in the bucket from this size on are read in place, by whoever opens an `OpeningVolume`. */
  inPlaceSizeBytesMin?: number;
  retryMsMin?: number;
}

export interface BegunCheckpoint {
  completed: Promise<CheckpointRecord>;
}

export class VolumeEngine {
  readonly live: LiveFile;
  readonly local: LocalCache;
  readonly #options: EngineOptions;
  readonly #map: BlockMap;
  readonly #staging: Staging;
  readonly #reader: SegmentReader;
  /** Null when the volume is read-only. */
  readonly #bucket: BucketSide | null;
  readonly #boot: BootList | null;
  readonly #cuts: Cuts;
  readonly #rewriter: Rewriter;
  readonly #eviction: Eviction;
  readonly #loop: StoreLoop;
  readonly #punchHole: PunchHole;
  readonly #shown = new Map<string, CheckpointFile>();
  readonly #clock: LeaseClock;
  #closedAs: VolumeStatistics | null = null;
  #durability: Durability;
  #isRelaxed = false;

  private constructor(options: EngineOptions, parts: EngineParts) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#map = parts.map;
    this.#punchHole = parts.punchHole;
    this.#staging = parts.staging;
    this.local = parts.local;
    this.#reader = parts.reader;
    this.#eviction = parts.eviction;
    this.live = parts.live;
    this.#cuts = new Cuts(parts.cutter, parts.local, parts.isAhead);
    this.#rewriter = parts.rewriter;
    this.#bucket = parts.bucket;
    this.#boot = parts.boot;
    const kept = durabilityOf(this.#map);
    this.#durability = (options.readOnly ? null : options.durability) ?? kept;
    this.#setFlushMode();
    if (this.#durability !== kept) this.#keepDurability();
    this.#loop = this.#makeLoop(parts.distrust !== null);
    if (parts.distrust !== null) {
      const message = `local state was set aside: ${parts.distrust}`;
      options.onProblem(new SpriteError("storage_failure", message));
    }
  }

  /**
   * @throws SpriteError storage_failure, not_found, invalid_request, disk_full, conflict (another server has it:
   * `holder` in the details)
   */
  static async open(options: EngineOptions, found?: FoundState): Promise<VolumeEngine> {
    const environment = {
      clock: options.clock ?? systemClock,
      punchHole: loadPunchHole(),
      flush: () => engine.flush(),
    };
    const engine = VolumeEngine.begin(options, await openParts(options, environment, found));
    return engine;
  }

  static begin(options: EngineOptions, parts: EngineParts): VolumeEngine {
    const engine = new VolumeEngine(options, parts);
    engine.#loop.start();
    return engine;
  }

  get formatted(): boolean {
    return this.#map.formatted;
  }

  async markFormatted(): Promise<void> {
    this.#map.markFormatted();
    this.#cuts.noteMapChange();
    await this.sync();
  }

  async sync(): Promise<void> {
    if (this.#options.readOnly) return;
    await this.#loop.sync();
  }

  get durability(): Durability {
    return this.#durability;
  }

  /** From the next flush on; settles when the bucket knows it too. */
  async setDurability(durability: Durability): Promise<void> {
    this.#refuseReadOnly();
    if (durability === this.#durability) return;
    this.#durability = durability;
    this.#setFlushMode();
    this.#keepDurability();
    await this.sync();
  }

  /** As `Volume.relaxFlushes`. */
  relaxFlushes(isRelaxed: boolean): void {
    this.#isRelaxed = isRelaxed;
    this.#setFlushMode();
  }

  #setFlushMode(): void {
    this.live.flushMode = this.#isRelaxed ? "local" : this.#durability;
  }

  #keepDurability(): void {
    this.#map.setAttribute(durabilityAttribute, this.#durability);
    this.#cuts.noteMapChange();
  }

  /**
   * What the guest was told is written lasts: on this machine's disk, or in the bucket, as the volume's durability
   * says. Flushes that come together share a cut and its PUTs.
   */
  async flush(): Promise<void> {
    await this.local.flush();
    if (this.#durability === "durable" && !this.#isRelaxed) await this.sync();
  }

  async beginCheckpoint(options: {
    comment: string;
    isAuto: boolean;
    isPreRestore?: boolean;
  }): Promise<BegunCheckpoint> {
    this.#refuseReadOnly();
    const { cut, committed } = await this.#cuts.beginCheckpoint(() => ({
      ...options,
      createTimeMs: this.#clock.nowMs(),
    }));
    const completed = committed.then(async (record) => {
      await this.#loop.waitFor(cut);
      return record;
    });
    completed.catch(() => undefined);
    return { completed };
  }

  listCheckpoints(): CheckpointRecord[] {
    return this.#map.listCheckpoints();
  }

  async deleteCheckpoint(id: string): Promise<void> {
    this.#refuseReadOnly();
    this.#map.deleteCheckpoint(id);
    this.hideCheckpoint(id);
    this.#cuts.noteMapChange();
    await this.sync();
  }

  setCheckpointHealth(id: string, health: CheckpointRecord["health"]): void {
    this.#refuseReadOnly();
    this.#map.setHealth(id, health);
    this.#cuts.noteMapChange();
  }

  async restore(id: string): Promise<void> {
    this.#refuseReadOnly();
    if (this.#map.getCheckpoint(id) === null) {
      throw new SpriteError("not_found", `there is no checkpoint ${id}`);
    }
    const release = await this.#cuts.acquireClean();
    try {
      await this.#restoreNow(id);
    } finally {
      release();
    }
    // It is done here. A bucket that does not take it now gets it later, as it does all writes.
    const patience = delay(restoreStoreTimeoutMs, undefined, { ref: false });
    await Promise.race([this.sync(), patience]);
  }

  /** The log frames the change, so that a crash within leaves an empty cache and not a wrong one. */
  async #restoreNow(id: string): Promise<void> {
    const { cache } = this.local;
    const mark = (type: number): void => cache.locked(() => cache.log.mark(type, 0));
    mark(recordType.restoreBegun);
    let units: Uint32Array;
    try {
      await this.local.flush();
      if (this.#cuts.isDirty) throw beingWritten();
      units = this.#map.restore(id);
    } catch (error) {
      mark(recordType.restoreDone);
      throw error;
    }
    this.#cuts.noteMapChange();
    invalidateUnits(cache, units, {
      punchHole: this.#punchHole,
      isMapped: (unit) => this.#map.lookup(this.#map.liveFileId, unit) !== null,
    });
    mark(recordType.restoreDone);
    await this.local.flush();
  }

  /** The checkpoint as a file. Asking again gives the same one. @throws SpriteError not_found */
  showCheckpoint(id: string): CheckpointFile {
    const known = this.#shown.get(id);
    if (known !== undefined) return known;
    const file = new CheckpointFile({
      map: this.#map,
      cache: this.local.cache,
      reader: this.#reader,
      checkpointId: id,
    });
    this.#shown.set(id, file);
    return file;
  }

  hideCheckpoint(id: string): void {
    this.#shown.get(id)?.hide();
    this.#shown.delete(id);
  }

  /** Of one that is closed: as it was then. */
  statistics(): VolumeStatistics {
    if (this.#closedAs !== null) return this.#closedAs;
    const { usedBytes, bucketBytes } = this.#map.statistics();
    const words = this.local.cache.state.control;
    return {
      usedBytes,
      dirtyBytes: (words[control.dirtyBlocks] ?? 0) * blockSizeBytes,
      cachedBytes: allocatedBytes(this.local.cache),
      bucketBytes,
      lastCut: this.#map.lastCut,
      sourceId: this.#map.sourceId,
      syncedCut: Math.max(0, this.#syncedCut),
      syncedAtMs: this.#bucket?.publisher.syncedAtMs ?? null,
      txid: this.#bucket?.publisher.txid ?? 0,
      generation: this.#bucket?.generation ?? 0,
      durability: this.#durability,
    };
  }

  /** Figures are no reason not to close. */
  #lastStatistics(): VolumeStatistics | null {
    try {
      return this.statistics();
    } catch {
      return null;
    }
  }

  getAttribute(name: string): string | null {
    return this.#map.getAttribute(name);
  }

  setAttribute(name: string, value: string): void {
    this.#refuseReadOnly();
    if (name.startsWith(ownAttributePrefix)) {
      throw new SpriteError("invalid_request", `attribute ${name} is the volume's own`);
    }
    this.#map.setAttribute(name, value);
    this.#cuts.noteMapChange();
  }

  get #syncedCut(): number {
    return this.#bucket?.publisher.syncedCut ?? this.#map.lastCut;
  }

  /**
   * Stores what is dirty and closes. After another writer has taken over, what is not stored is set aside.
   * @throws SpriteError storage_failure: not all is in the bucket, but all is local
   */
  async close(options: { discard: boolean }): Promise<void> {
    const deadline = new AbortController();
    const timeoutMs = this.#options.closeTimeoutMs ?? closeTimeoutMs;
    const timer = setTimeout(() => deadline.abort(lateError(timeoutMs)), timeoutMs);
    const isStoring = !options.discard && this.#bucket !== null;
    const failures: unknown[] = [];
    if (isStoring) await this.#syncWithin(deadline.signal).catch((error) => failures.push(error));
    await this.#loop.stop();
    const release = await this.#cuts.acquire();
    this.#closedAs = this.#lastStatistics();
    if (options.discard && this.#bucket !== null) this.local.abandon();
    else await this.local.close();
    await this.#staging.close();
    const isStored = isStoring && failures.length === 0;
    const saved = isStored ? this.#saveBoot(deadline.signal) : null;
    await this.#closeMap({ isStored, signal: deadline.signal }).catch((error) =>
      failures.push(error),
    );
    await saved;
    clearTimeout(timer);
    release();
    if (failures.length > 0) throw await this.#unstoredError(failures[0]);
  }

  async #syncWithin(signal: AbortSignal): Promise<void> {
    const late = Promise.withResolvers<never>();
    const onAbort = (): void => late.reject(signal.reason);
    signal.addEventListener("abort", onAbort);
    await Promise.race([this.#loop.sync(), late.promise]);
    signal.removeEventListener("abort", onAbort);
  }

  async #saveBoot(signal: AbortSignal): Promise<void> {
    const state = this.#bucket?.publisher.chainState ?? null;
    if (state !== null) await this.#boot?.save({ map: this.#map, state, signal });
  }

  async #closeMap(options: { isStored: boolean; signal: AbortSignal }): Promise<void> {
    if (this.#bucket === null) this.#map.close();
    else await this.#bucket.close(options);
  }

  async #unstoredError(cause: unknown): Promise<SpriteError> {
    if (!isFenced(cause)) {
      const message = "close the volume: not everything is stored yet";
      return new SpriteError("storage_failure", message, { cause });
    }
    const { prefix, cacheDirectory } = this.#options;
    const state = this.#bucket?.localState ?? null;
    const reason = "another writer has taken over, and this was not stored before";
    const orphan = await setAsideAll(
      { prefix, cacheDirectory, clock: this.#clock },
      { reason, state },
    );
    return new SpriteError("storage_failure", `${reason}: see ${orphan}`, {
      details: { isFenced: true, orphan },
      cause,
    });
  }

  /** Stops at once and lets everything lie, as a kill would: for tests. */
  async abandon(): Promise<void> {
    await this.#loop.stop();
    await this.#cuts.acquire();
    this.local.abandon();
    await this.#staging.close();
    await this.#closeMap({ isStored: false, signal: AbortSignal.abort() });
  }

  #makeLoop(isTroubled: boolean): StoreLoop {
    const { readOnly } = this.#options;
    return new StoreLoop({
      intervalMs: Math.max(1, readOnly ? 1_000 : this.#options.syncIntervalMs),
      hasChanges: () => !readOnly && this.#cuts.hasChanges,
      lastCut: () => this.#map.lastCut,
      syncedCut: () => this.#syncedCut,
      runningCut: () => this.#cuts.running,
      cutIdle: async () => (await this.#cuts.acquire())(),
      makeCut: () => this.#cuts.make(),
      publish: async (signal) => await this.#bucket?.publisher.publish(signal),
      evict: () => {
        this.#eviction.run();
        this.local.scrub.run();
      },
      tidy: (signal) => this.#tidy(signal),
      onProblem: this.#options.onProblem,
      nowMs: this.#clock.nowMs,
      random: this.#options.random ?? Math.random,
      retryMsMin: this.#options.retryMsMin ?? retryMsMin,
      isTroubled,
    });
  }

  async #tidy(signal: AbortSignal): Promise<void> {
    if (this.#bucket === null) {
      // What was fetched stays believable after a reboot only once it is synced.
      await this.local.flush();
      return;
    }
    const { isMapChanged } = await this.#bucket.tidy(signal);
    if (isMapChanged) this.#cuts.noteMapChange();
    const prepared = await this.#rewriter.prepareIfDue(this.#clock.nowMs());
    if (prepared !== null) await this.#cuts.make(prepared);
  }

  #refuseReadOnly(): void {
    if (this.#options.readOnly) throw new SpriteError("conflict", "the volume is read-only");
  }
}

export function lateError(timeoutMs: number): SpriteError {
  return new SpriteError("deadline_exceeded", `the bucket took more than ${timeoutMs} ms`);
}
