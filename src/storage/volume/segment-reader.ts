/** Reads slices of segments, wherever these are: still staged, or in the bucket. Every slice is verified. */
import { open } from "node:fs/promises";
import { must } from "../../base/assert.ts";
import { SpriteError } from "../../contract/errors.ts";
import { countBlocks } from "../block-map/block-mask.ts";
import { blockSizeBytes, unitSizeBytes } from "../block-map/geometry.ts";
import { placeSlice, sliceRange, verifySlice, wholeSliceOf } from "../block-map/segment.ts";
import type { Slice, UnitLayout } from "../block-map/types.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { FetchBuffers } from "./fetch-buffers.ts";
import { fetchesAtOnceMax, fetchGapBlocksMax, fetchSizeBytesMax } from "./limits.ts";
import type { Staging } from "./staging.ts";

export interface SegmentReaderOptions {
  store: ObjectStore;
  /** The segment's key in the bucket. */
  keyOf: (segment: number) => string | Promise<string>;
  /** Null when nothing can be staged here. */
  staging: Staging | null;
}

/** Slices of one segment that lie next to each other, or nearly. */
interface Run {
  segment: number;
  offsetBlocks: number;
  endBlocks: number;
  slices: Slice[];
}

export class SegmentReader {
  readonly #options: SegmentReaderOptions;
  readonly #buffers = new FetchBuffers();
  #free = fetchesAtOnceMax;
  readonly #queue: (() => void)[] = [];

  constructor(options: SegmentReaderOptions) {
    this.#options = options;
  }

  /**
   * The content of each unit, 64 KiB. One may share its memory with others: who keeps it copies it.
   * @throws SpriteError storage_failure: missing or damaged
   */
  async readUnits(layouts: readonly UnitLayout[]): Promise<Map<UnitLayout, Uint8Array>> {
    return unitsOf(layouts, await this.#readSlices(layouts.flat(), []));
  }

  /**
   * The same for somebody who is done with the units when `use` returns: what was fetched is not copied, and the next fetch uses the memory
   * again.
   */
  async useUnits(
    layouts: readonly UnitLayout[],
    use: (units: ReadonlyMap<UnitLayout, Uint8Array>) => void,
  ): Promise<void> {
    const runs = joinRuns(layouts.flat());
    const buffers = runs.map((run) => this.#buffers.take(runSizeBytes(run)));
    use(unitsOf(layouts, await this.#readSlices(layouts.flat(), buffers)));
    // After a failure they are left to the collector: a late reply may still be written to them.
    for (const buffer of buffers) this.#buffers.give(buffer);
  }

  /** The stored bytes of each slice, verified. Those of the nth run are put into the nth buffer, if there is one. */
  async #readSlices(
    slices: readonly Slice[],
    buffers: readonly (Uint8Array | undefined)[],
  ): Promise<Map<Slice, Uint8Array>> {
    const contents = new Map<Slice, Uint8Array>();
    await Promise.all(
      joinRuns(slices).map(async (run, index) => {
        const key = await this.#options.keyOf(run.segment);
        const bytes = await this.#readRun(run, key, buffers[index]);
        for (const slice of run.slices) {
          const start = (slice.offsetBlocks - run.offsetBlocks) * blockSizeBytes;
          const stored = bytes.subarray(start, start + sliceRange(slice).lengthBytes);
          contents.set(slice, verifySlice(slice, stored, key));
        }
      }),
    );
    return contents;
  }

  async #readRun(run: Run, key: string, into: Uint8Array | undefined): Promise<Uint8Array> {
    await this.#acquire();
    try {
      const offsetBytes = run.offsetBlocks * blockSizeBytes;
      const lengthBytes = runSizeBytes(run);
      const staged = await this.#readStaged(run.segment, offsetBytes, lengthBytes);
      if (staged !== null) return staged;
      const bytes = await this.#options.store.getRange(key, offsetBytes, lengthBytes, { into });
      if (bytes === null) throw new SpriteError("storage_failure", `segment ${key} is missing`);
      return bytes;
    } finally {
      this.#release();
    }
  }

  async #readStaged(segment: number, offset: number, length: number): Promise<Uint8Array | null> {
    const { staging } = this.#options;
    if (staging === null || !staging.has(segment)) return null;
    try {
      await staging.restoreName(segment);
      const file = await open(staging.path(segment), "r");
      try {
        const bytes = Buffer.alloc(length);
        const { bytesRead } = await file.read(bytes, 0, length, offset);
        return bytes.subarray(0, bytesRead);
      } finally {
        await file.close();
      }
    } catch (error) {
      // Uploaded and removed since the question: the bucket has it now.
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
      throw error;
    }
  }

  async #acquire(): Promise<void> {
    if (this.#free > 0) {
      this.#free--;
      return;
    }
    await new Promise<void>((resolve) => this.#queue.push(resolve));
  }

  #release(): void {
    const next = this.#queue.shift();
    if (next === undefined) this.#free++;
    else next();
  }
}

function runSizeBytes(run: Run): number {
  return (run.endBlocks - run.offsetBlocks) * blockSizeBytes;
}

function unitsOf(
  layouts: readonly UnitLayout[],
  slices: ReadonlyMap<Slice, Uint8Array>,
): Map<UnitLayout, Uint8Array> {
  const units = new Map<UnitLayout, Uint8Array>();
  for (const layout of layouts) {
    const whole = wholeSliceOf(layout);
    const bytes = whole && slices.get(whole);
    units.set(layout, bytes ?? joinSlices(layout, slices));
  }
  return units;
}

function joinSlices(layout: UnitLayout, slices: ReadonlyMap<Slice, Uint8Array>): Uint8Array {
  const unit = new Uint8Array(unitSizeBytes);
  for (const slice of layout) {
    placeSlice(slice, must(slices.get(slice), "the slice was read"), unit);
  }
  return unit;
}

function joinRuns(slices: readonly Slice[]): Run[] {
  const sorted = slices.toSorted(
    (a, b) => a.segment - b.segment || a.offsetBlocks - b.offsetBlocks,
  );
  const runs: Run[] = [];
  for (const slice of sorted) {
    const { segment, offsetBlocks } = slice;
    const endBlocks = offsetBlocks + countBlocks(slice.stored);
    const run = runs.at(-1);
    const isNear =
      run?.segment === segment &&
      offsetBlocks - run.endBlocks <= fetchGapBlocksMax &&
      (endBlocks - run.offsetBlocks) * blockSizeBytes <= fetchSizeBytesMax;
    if (isNear) {
      run.slices.push(slice);
      run.endBlocks = Math.max(run.endBlocks, endBlocks);
    } else {
      runs.push({ segment, offsetBlocks, endBlocks, slices: [slice] });
    }
  }
  return runs;
}
