/**
 * The cuts of a volume, one at a time: those of the store loop, those that a checkpoint asks for, and the quiet
 * between two of them that a restore needs.
 */
import { must } from "../../base/assert.ts";
import { SpriteError } from "../../contract/errors.ts";
import type { NewCheckpoint } from "../block-map/checkpoints.ts";
import type { LocalCache } from "../chunk-cache/local-cache.ts";
import { control } from "../chunk-cache/shared-state.ts";
import type { BegunCut, Cutter } from "./cutter.ts";
import { cleanTriesMax } from "./limits.ts";
import type { PreparedRewrite } from "./rewriter.ts";
import type { CheckpointRecord } from "./volume.ts";

export class Cuts {
  readonly #cutter: Cutter;
  readonly #local: LocalCache;
  /** Held from a cut's begin to its commit, and by a restore. */
  #last: Promise<unknown> = Promise.resolve();
  #running: number | null = null;
  #isMapChanged: boolean;

  /** `isMapChanged`: the map has something already that the bucket may not have. */
  constructor(cutter: Cutter, local: LocalCache, isMapChanged: boolean) {
    this.#cutter = cutter;
    this.#local = local;
    this.#isMapChanged = isMapChanged;
  }

  /** The cut that has begun and is not committed; null between cuts. */
  get running(): number | null {
    return this.#running;
  }

  /** Whether a cut would have something to record. */
  get hasChanges(): boolean {
    return this.#isMapChanged || this.isDirty;
  }

  get isDirty(): boolean {
    return (this.#local.cache.state.control[control.dirtyUnits] ?? 0) > 0;
  }

  /** The map was changed between cuts: the next cut is made even if no block is dirty. */
  noteMapChange(): void {
    this.#isMapChanged = true;
  }

  /** Settles when no cut runs, and keeps the next from beginning until what it gives is called. */
  async acquire(): Promise<() => void> {
    const before = this.#last;
    let release: () => void = () => undefined;
    this.#last = new Promise<void>((resolve) => (release = resolve));
    await before;
    return release;
  }

  /**
   * As `acquire`, with nothing dirty. A cut that was running may have been taken back, which makes its blocks
   * dirty again: then another one is made, whose failure is the caller's to hear of.
   * @throws SpriteError conflict: the disk is being written
   */
  async acquireClean(): Promise<() => void> {
    for (let tries = 0; tries < cleanTriesMax; tries++) {
      if (this.isDirty) await this.make();
      const release = await this.acquire();
      if (!this.isDirty) return release;
      release();
    }
    throw beingWritten();
  }

  async make(prepared: PreparedRewrite | null = null): Promise<void> {
    const release = await this.acquire();
    await this.#finish(this.#begin(release), { checkpoint: null, prepared, release });
  }

  /** Settles when the cut has begun; `committed` when the map on this machine has it and the checkpoint. */
  async beginCheckpoint(
    describe: () => NewCheckpoint,
  ): Promise<{ cut: number; committed: Promise<CheckpointRecord> }> {
    const release = await this.acquire();
    const checkpoint = describe();
    const begun = this.#begin(release);
    const committed = this.#finish(begun, { checkpoint, prepared: null, release }).then((record) =>
      must(record, "a cut with a checkpoint returns its record"),
    );
    return { cut: begun.cut, committed };
  }

  #begin(release: () => void): BegunCut & { wasMapChanged: boolean } {
    let begun: BegunCut;
    try {
      begun = this.#cutter.begin();
    } catch (error) {
      this.#isMapChanged ||= holdsGuestOff(error);
      release();
      throw error;
    }
    this.#running = begun.cut;
    const wasMapChanged = this.#isMapChanged;
    // A change of the map from now on may miss this cut; it asks for another one by setting this again.
    this.#isMapChanged = false;
    return { ...begun, wasMapChanged };
  }

  async #finish(
    begun: BegunCut & { wasMapChanged: boolean },
    { checkpoint, prepared, release }: CutContent & { release: () => void },
  ): Promise<CheckpointRecord | null> {
    try {
      return await this.#cutter.finish(begun, checkpoint, prepared);
    } catch (error) {
      // Changes of the map that this cut would have taken along still wait for one.
      this.#isMapChanged ||= begun.wasMapChanged || holdsGuestOff(error);
      throw error;
    } finally {
      this.#running = null;
      release();
    }
  }
}

interface CutContent {
  checkpoint: NewCheckpoint | null;
  prepared: PreparedRewrite | null;
}

/** The guest may write again only after a cut, so there must be one, dirty blocks or not. */
function holdsGuestOff(error: unknown): boolean {
  return error instanceof SpriteError && error.code === "disk_full";
}

export function beingWritten(): SpriteError {
  return new SpriteError("conflict", "the disk is being written");
}
