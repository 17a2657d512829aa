/**
 * A volume without its threads: everything that the slow lane does, as one object. The store, the
 * clock and the random source come in from outside, so that a simulation drives the very code that
 * ships.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { must } from "../../base/assert.ts";
import { withDeadline } from "../../base/wait.ts";
import { SpriteError } from "../../contract/errors.ts";
import type { BlockMap } from "../block-map/block-map.ts";
import type { NewCheckpoint } from "../block-map/checkpoints.ts";
import { blockSizeBytes } from "../block-map/geometry.ts";
import { allocatedBytes, Eviction, invalidateUnits } from "../chunk-cache/eviction.ts";
import { LocalCache } from "../chunk-cache/local-cache.ts";
import { loadPunchHole, type PunchHole } from "../chunk-cache/punch-hole.ts";
import { recordType } from "../chunk-cache/residency-log.ts";
import { control } from "../chunk-cache/shared-state.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { CheckpointFile } from "./checkpoint-file.ts";
import { Cutter } from "./cutter.ts";
import {
  cleanTriesMax,
  closeTimeoutMs,
  garbageGraceMs,
  restoreStoreTimeoutMs,
  retryMsMin,
} from "./limits.ts";
import { LiveFile } from "./live-file.ts";
import { newNonce, openMap, ownAttribute, ownAttributePrefix, stagingName } from "./open-map.ts";
import { Publisher } from "./publisher.ts";
import { SegmentReader } from "./segment-reader.ts";
import { Staging } from "./staging.ts";
import { StoreLoop } from "./store-loop.ts";
import type { CheckpointRecord, VolumeOptions, VolumeStatistics } from "./volume.ts";

export interface EngineOptions extends Omit<VolumeOptions, "bucket"> {
  store: ObjectStore;
  onProblem: (problem: Error | null) => void;
  nowMs?: () => number;
  random?: () => number;
  bootId?: string;
  graceMs?: number;
  closeTimeoutMs?: number;
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
  readonly #publisher: Publisher;
  readonly #cutter: Cutter;
  readonly #eviction: Eviction;
  readonly #loop: StoreLoop;
  readonly #punchHole: PunchHole;
  readonly #shown = new Map<string, CheckpointFile>();
  readonly #nowMs: () => number;
  /** Held from a cut's begin to its commit, and by a restore. */
  #cutting: Promise<unknown> = Promise.resolve();
  #runningCut: number | null = null;
  /** The map was changed between cuts: the next cut is made even if no block is dirty. */
  #isMapChanged = false;
  #sweepNeeded: boolean;

  private constructor(
    options: EngineOptions,
    opened: Awaited<ReturnType<typeof openMap>>,
    punchHole: PunchHole,
  ) {
    const { store, prefix, cacheDirectory, readOnly } = options;
    this.#options = options;
    this.#nowMs = options.nowMs ?? Date.now;
    this.#map = opened.map;
    this.#punchHole = punchHole;
    this.#sweepNeeded = !opened.wasClean && !readOnly;
    this.#isMapChanged = opened.head !== null && !opened.wasClean && !readOnly;
    this.#staging = new Staging(join(cacheDirectory, stagingName));
    this.#staging.recover(this.#map);
    this.local = LocalCache.open({
      directory: cacheDirectory,
      sizeBytes: this.#map.sizeBytes,
      volumeId: must(this.#map.getAttribute(ownAttribute.cacheId), "a local map has a cache id"),
      bootId: options.bootId ?? readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim(),
      readOnly,
      lastCut: this.#map.lastCut,
      forEachMapped: (visit) => this.#map.forEachLiveUnit(visit),
      punchHole,
      nowMs: this.#nowMs,
    });
    const parts = { store, prefix, map: this.#map, staging: this.#staging };
    this.#reader = new SegmentReader(parts);
    const { cache } = this.local;
    this.#eviction = new Eviction(cache, { punchHole, sizeBytesMax: options.cacheSizeBytesMax });
    const shared = { map: this.#map, local: this.local, reader: this.#reader };
    this.live = new LiveFile({
      ...shared,
      eviction: this.#eviction,
      punchHole,
      readOnly,
    });
    this.#cutter = new Cutter({
      ...shared,
      staging: this.#staging,
      eviction: this.#eviction,
      putSegment: (id, bytes) => store.put(`${prefix}/${this.#map.segmentKey(id)}`, bytes),
    });
    this.#publisher = new Publisher({
      ...parts,
      head: opened.head,
      writer: `${newNonce().slice(0, 16)}`,
      graceMs: options.graceMs ?? garbageGraceMs,
      nowMs: this.#nowMs,
    });
    const distrust = opened.distrust ?? this.local.distrust;
    this.#loop = this.#makeLoop(distrust !== null);
    if (distrust !== null) {
      options.onProblem(
        new SpriteError("storage_failure", `local state was set aside: ${distrust}`),
      );
    }
  }

  /** @throws SpriteError storage_failure, not_found, invalid_request, disk_full */
  static async open(options: EngineOptions): Promise<VolumeEngine> {
    const opened = await openMap({ ...options, nowMs: options.nowMs ?? Date.now });
    try {
      const engine = new VolumeEngine(options, opened, loadPunchHole());
      // A new volume exists once its head does, so that a bucket without one is never taken for a new volume.
      if (opened.head === null) await engine.#publisher.publish(new AbortController().signal);
      engine.#loop.start();
      return engine;
    } catch (error) {
      opened.map.close();
      throw error;
    }
  }

  get formatted(): boolean {
    return this.#map.formatted;
  }

  async markFormatted(): Promise<void> {
    this.#map.markFormatted();
    this.#isMapChanged = true;
    await this.sync();
  }

  async sync(): Promise<void> {
    if (this.#options.readOnly) return;
    await this.#loop.sync();
  }

  async beginCheckpoint(options: {
    comment: string;
    isAuto: boolean;
    isPreRestore?: boolean;
  }): Promise<BegunCheckpoint> {
    this.#refuseReadOnly();
    const release = await this.#acquireCut();
    const createTimeMs = this.#nowMs();
    let begun: ReturnType<Cutter["begin"]>;
    try {
      begun = this.#cutter.begin();
    } catch (error) {
      release();
      throw error;
    }
    this.#runningCut = begun.cut;
    this.#isMapChanged = false;
    const completed = this.#completeCheckpoint(begun, { ...options, createTimeMs }, release);
    completed.catch(() => undefined);
    return { completed };
  }

  async #completeCheckpoint(
    begun: ReturnType<Cutter["begin"]>,
    checkpoint: NewCheckpoint,
    release: () => void,
  ): Promise<CheckpointRecord> {
    let record: CheckpointRecord | null;
    try {
      record = await this.#cutter.finish(begun, checkpoint);
    } catch (error) {
      // Changes of the map that this cut would have taken along still wait for one.
      this.#isMapChanged = true;
      throw error;
    } finally {
      this.#runningCut = null;
      release();
    }
    await this.#loop.waitFor(begun.cut);
    return must(record, "a cut with a checkpoint returns its record");
  }

  listCheckpoints(): CheckpointRecord[] {
    return this.#map.listCheckpoints();
  }

  async deleteCheckpoint(id: string): Promise<void> {
    this.#refuseReadOnly();
    this.#map.deleteCheckpoint(id);
    this.hideCheckpoint(id);
    this.#isMapChanged = true;
    await this.sync();
  }

  setCheckpointHealth(id: string, health: CheckpointRecord["health"]): void {
    this.#refuseReadOnly();
    this.#map.setHealth(id, health);
    this.#isMapChanged = true;
  }

  async restore(id: string): Promise<void> {
    this.#refuseReadOnly();
    if (this.#map.getCheckpoint(id) === null) {
      throw new SpriteError("not_found", `there is no checkpoint ${id}`);
    }
    const release = await this.#acquireClean();
    try {
      await this.#restoreNow(id);
    } finally {
      release();
    }
    // It is done here. A bucket that does not take it now gets it later, as it does all writes.
    const patience = delay(restoreStoreTimeoutMs, undefined, { ref: false });
    await Promise.race([this.sync(), patience]);
  }

  /**
   * Waits until no cut runs and nothing is dirty. A cut that was running may have been taken back, which
   * makes its blocks dirty again: then another one is made, whose failure is the caller's to hear of.
   */
  async #acquireClean(): Promise<() => void> {
    for (let tries = 0; tries < cleanTriesMax; tries++) {
      if (this.#isDirty()) await this.#makeCut();
      const release = await this.#acquireCut();
      if (!this.#isDirty()) return release;
      release();
    }
    throw new SpriteError("conflict", "the disk is being written");
  }

  /** The log frames the change, so that a crash within leaves an empty cache and not a wrong one. */
  async #restoreNow(id: string): Promise<void> {
    const { cache } = this.local;
    const mark = (type: number): void => cache.locked(() => cache.log.mark(type, 0));
    mark(recordType.restoreBegun);
    let units: Uint32Array;
    try {
      await this.local.flush();
      if (this.#isDirty()) throw new SpriteError("conflict", "the disk is being written");
      units = this.#map.restore(id);
    } catch (error) {
      mark(recordType.restoreDone);
      throw error;
    }
    this.#isMapChanged = true;
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

  statistics(): VolumeStatistics {
    const { usedBytes, bucketBytes } = this.#map.statistics();
    const words = this.local.cache.state.control;
    return {
      usedBytes,
      dirtyBytes: (words[control.dirtyBlocks] ?? 0) * blockSizeBytes,
      cachedBytes: allocatedBytes(this.local.cache),
      bucketBytes,
      lastCut: this.#map.lastCut,
      sourceId: this.#map.sourceId,
      syncedCut: Math.max(0, this.#publisher.syncedCut),
      syncedAtMs: this.#publisher.syncedAtMs,
    };
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
    this.#isMapChanged = true;
  }

  /**
   * Stores what is dirty and closes.
   * @throws SpriteError storage_failure: not all is in the bucket, but all is local
   */
  async close(options: { discard: boolean }): Promise<void> {
    let failure: unknown = null;
    if (!options.discard && !this.#options.readOnly) {
      const timeoutMs = this.#options.closeTimeoutMs ?? closeTimeoutMs;
      const onTimeout = (): Error =>
        new SpriteError("deadline_exceeded", `the bucket took more than ${timeoutMs} ms`);
      await withDeadline(this.#loop.sync(), { timeoutMs, onTimeout }).catch(
        (error: unknown) => (failure = error),
      );
    }
    await this.#loop.stop();
    const release = await this.#acquireCut();
    if (options.discard && !this.#options.readOnly) {
      this.local.abandon();
    } else {
      await this.local.close();
      if (failure === null) this.#map.setAttribute(ownAttribute.isClean, "1");
    }
    await this.#staging.close();
    this.#map.close();
    release();
    if (failure !== null) {
      throw new SpriteError("storage_failure", "close the volume: not everything is stored yet", {
        cause: failure,
      });
    }
  }

  /** Stops at once and lets everything lie, as a kill would: for tests. */
  async abandon(): Promise<void> {
    await this.#loop.stop();
    await this.#acquireCut();
    this.local.abandon();
    await this.#staging.close();
    this.#map.close();
  }

  #makeLoop(isTroubled: boolean): StoreLoop {
    const { readOnly } = this.#options;
    return new StoreLoop({
      intervalMs: Math.max(1, readOnly ? 1_000 : this.#options.syncIntervalMs),
      hasChanges: () => !readOnly && (this.#isMapChanged || this.#isDirty()),
      lastCut: () => this.#map.lastCut,
      syncedCut: () => (readOnly ? this.#map.lastCut : this.#publisher.syncedCut),
      runningCut: () => this.#runningCut,
      cutIdle: async () => (await this.#acquireCut())(),
      makeCut: () => this.#makeCut(),
      publish: (signal) => this.#publisher.publish(signal),
      evict: () => {
        this.#eviction.run();
        this.local.scrub.run();
      },
      tidy: (signal) => this.#tidy(signal),
      onProblem: this.#options.onProblem,
      nowMs: this.#nowMs,
      random: this.#options.random ?? Math.random,
      retryMsMin: this.#options.retryMsMin ?? retryMsMin,
      isTroubled,
    });
  }

  async #makeCut(): Promise<void> {
    const release = await this.#acquireCut();
    try {
      const begun = this.#cutter.begin();
      this.#runningCut = begun.cut;
      const wasMapChanged = this.#isMapChanged;
      // A change of the map from now on may miss this cut's copy; it asks for another cut by
      // setting this again.
      this.#isMapChanged = false;
      try {
        await this.#cutter.finish(begun, null);
      } catch (error) {
        this.#isMapChanged ||= wasMapChanged;
        throw error;
      }
    } finally {
      this.#runningCut = null;
      release();
    }
  }

  async #tidy(signal: AbortSignal): Promise<void> {
    if (this.#options.readOnly) {
      // What was fetched stays believable after a reboot only once it is synced.
      await this.local.flush();
      return;
    }
    if (this.#sweepNeeded) {
      await this.#publisher.sweep(signal);
      this.#sweepNeeded = false;
    }
    await this.#publisher.collectGarbage(signal);
  }

  #isDirty(): boolean {
    return (this.local.cache.state.control[control.dirtyUnits] ?? 0) > 0;
  }

  async #acquireCut(): Promise<() => void> {
    const before = this.#cutting;
    let release: () => void = () => undefined;
    this.#cutting = new Promise<void>((resolve) => (release = resolve));
    await before;
    return release;
  }

  #refuseReadOnly(): void {
    if (this.#options.readOnly) throw new SpriteError("conflict", "the volume is read-only");
  }
}
