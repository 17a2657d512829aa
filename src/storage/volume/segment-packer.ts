/** Packs blocks of units into one segment after the other. */
import { countBlocks } from "../block-map/block-mask.ts";
import { SegmentWriter } from "../block-map/segment.ts";
import type { NewSlice } from "../block-map/types.ts";

export interface SegmentPackerOptions {
  /** Where a segment is put together; `onSealed` is done with it when it settles. */
  buffer: Buffer;
  allocate: () => number;
  onSealed: (id: number, bytes: Uint8Array) => Promise<void>;
}

export class SegmentPacker {
  readonly #options: SegmentPackerOptions;
  #open: { id: number; writer: SegmentWriter } | null = null;

  constructor(options: SegmentPackerOptions) {
    this.#options = options;
  }

  /** Stores the blocks of a unit that the mask names. */
  async add(unit: Uint8Array, stored: number): Promise<NewSlice> {
    const { id, writer } = await this.#withRoom(stored);
    return { segment: id, ...writer.append(unit, stored) };
  }

  /** Stores blocks that lie next to each other already. */
  async addPacked(blocks: Uint8Array, stored: number): Promise<NewSlice> {
    const { id, writer } = await this.#withRoom(stored);
    return { segment: id, ...writer.appendPacked(blocks, stored) };
  }

  /** Seals the last segment. */
  async finish(): Promise<void> {
    const open = this.#open;
    this.#open = null;
    if (open !== null) await this.#options.onSealed(open.id, open.writer.finish());
  }

  async #withRoom(stored: number): Promise<{ id: number; writer: SegmentWriter }> {
    if (this.#open !== null && !this.#open.writer.hasRoom(countBlocks(stored))) await this.finish();
    this.#open ??= {
      id: this.#options.allocate(),
      writer: new SegmentWriter({ buffer: this.#options.buffer }),
    };
    return this.#open;
  }
}
