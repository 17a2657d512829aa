/** Reads slices of segments, wherever these are: still staged, or in the bucket. Every slice is verified. */
import { open } from "node:fs/promises";
import { SpriteError } from "../../contract/errors.ts";
import type { BlockMap } from "../block-map/block-map.ts";
import { blockSizeBytes, unitSizeBytes } from "../block-map/geometry.ts";
import { sliceRange, verifySlice } from "../block-map/segment.ts";
import type { Slice } from "../block-map/types.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { fetchesAtOnceMax, fetchSizeBytesMax } from "./limits.ts";
import type { Staging } from "./staging.ts";

export interface SegmentReaderOptions {
  store: ObjectStore;
  prefix: string;
  map: BlockMap;
  staging: Staging;
}

/** Slices of one segment that lie next to each other. */
interface Run {
  segment: number;
  offsetBlocks: number;
  lengthBlocks: number;
  slices: Slice[];
}

export class SegmentReader {
  readonly #options: SegmentReaderOptions;
  #free = fetchesAtOnceMax;
  readonly #queue: (() => void)[] = [];

  constructor(options: SegmentReaderOptions) {
    this.#options = options;
  }

  /**
   * Each slice's unit, filled up with zeros to 64 KiB.
   * @throws SpriteError storage_failure: missing or damaged
   */
  async readUnits(slices: readonly Slice[]): Promise<Map<Slice, Uint8Array>> {
    const units = new Map<Slice, Uint8Array>();
    await Promise.all(
      joinRuns(slices).map(async (run) => {
        const key = this.#key(run.segment);
        const bytes = await this.#readRun(run, key);
        for (const slice of run.slices) {
          const start = (slice.offsetBlocks - run.offsetBlocks) * blockSizeBytes;
          const { lengthBytes } = sliceRange(slice);
          const stored = bytes.subarray(start, start + lengthBytes);
          verifySlice(slice, stored, key);
          units.set(slice, wholeUnit(stored));
        }
      }),
    );
    return units;
  }

  #key(segment: number): string {
    return `${this.#options.prefix}/${this.#options.map.segmentKey(segment)}`;
  }

  async #readRun(run: Run, key: string): Promise<Uint8Array> {
    await this.#acquire();
    try {
      const offsetBytes = run.offsetBlocks * blockSizeBytes;
      const lengthBytes = run.lengthBlocks * blockSizeBytes;
      const staged = await this.#readStaged(run.segment, offsetBytes, lengthBytes);
      if (staged !== null) return staged;
      const bytes = await this.#options.store.getRange(key, offsetBytes, lengthBytes);
      if (bytes === null) throw new SpriteError("storage_failure", `segment ${key} is missing`);
      return bytes;
    } finally {
      this.#release();
    }
  }

  async #readStaged(segment: number, offset: number, length: number): Promise<Uint8Array | null> {
    if (!this.#options.staging.has(segment)) return null;
    try {
      await this.#options.staging.restoreName(segment);
      const file = await open(this.#options.staging.path(segment), "r");
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

function joinRuns(slices: readonly Slice[]): Run[] {
  const sorted = slices.toSorted(
    (a, b) => a.segment - b.segment || a.offsetBlocks - b.offsetBlocks,
  );
  const runs: Run[] = [];
  for (const slice of sorted) {
    const run = runs.at(-1);
    const lengthBlocks = slice.offsetBlocks + slice.lengthBlocks - (run?.offsetBlocks ?? 0);
    const isNext =
      run !== undefined &&
      run.segment === slice.segment &&
      run.offsetBlocks + run.lengthBlocks === slice.offsetBlocks &&
      lengthBlocks * blockSizeBytes <= fetchSizeBytesMax;
    if (isNext) {
      run.slices.push(slice);
      run.lengthBlocks = lengthBlocks;
    } else {
      const { segment, offsetBlocks } = slice;
      runs.push({ segment, offsetBlocks, lengthBlocks: slice.lengthBlocks, slices: [slice] });
    }
  }
  return runs;
}

function wholeUnit(stored: Uint8Array): Uint8Array {
  const unit = new Uint8Array(unitSizeBytes);
  unit.set(stored);
  return unit;
}

export function isSameSlice(a: Slice | null, b: Slice | null): boolean {
  if (a === null || b === null) return a === b;
  return (
    a.segment === b.segment &&
    a.offsetBlocks === b.offsetBlocks &&
    a.lengthBlocks === b.lengthBlocks
  );
}
