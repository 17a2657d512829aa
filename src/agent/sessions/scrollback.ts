import { must } from "../../base/assert.ts";
import {
  scrollbackSegmentSizeBytes,
  scrollbackSegmentsMax,
  scrollbackSizeBytesMax,
} from "./limits.ts";

export interface ScrollbackChunk<Tag> {
  /** Which stream the bytes came from. */
  tag: Tag;
  bytes: Buffer;
}

interface Segment<Tag> {
  tag: Tag;
  buffer: Buffer;
  /** The bytes before this were dropped. */
  start: number;
  end: number;
}

/**
 * The last bytes of a session's output, in their order across streams. Bytes are copied: a small
 * slice would keep alive the whole block that it was read into.
 */
export class Scrollback<Tag> {
  readonly #sizeBytesMax: number;
  readonly #segments: Segment<Tag>[] = [];
  #sizeBytes = 0;

  constructor(sizeBytesMax: number = scrollbackSizeBytesMax) {
    this.#sizeBytesMax = sizeBytesMax;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  append(tag: Tag, bytes: Uint8Array): void {
    const kept = bytes.subarray(Math.max(0, bytes.length - this.#sizeBytesMax));
    for (let offset = 0; offset < kept.length;) {
      const segment = this.#segmentFor(tag);
      const part = kept.subarray(offset, offset + segment.buffer.length - segment.end);
      segment.buffer.set(part, segment.end);
      segment.end += part.length;
      offset += part.length;
    }
    this.#sizeBytes += kept.length;
    this.#dropOldest();
  }

  /** The chunks in order; each is a copy of its own. */
  read(): Array<ScrollbackChunk<Tag>> {
    return this.#segments.map(({ tag, buffer, start, end }) => ({
      tag,
      bytes: Buffer.from(buffer.subarray(start, end)),
    }));
  }

  clear(): void {
    this.#segments.length = 0;
    this.#sizeBytes = 0;
  }

  /**
   * The last segment if it takes more of this stream, else a new one. It begins small and is
   * doubled: most sessions print little.
   */
  #segmentFor(tag: Tag): Segment<Tag> {
    const last = this.#segments.at(-1);
    if (last !== undefined && last.tag === tag) {
      if (last.end < last.buffer.length) return last;
      if (last.buffer.length < scrollbackSegmentSizeBytes) {
        const larger = Buffer.alloc(last.buffer.length * 4);
        larger.set(last.buffer);
        last.buffer = larger;
        return last;
      }
    }
    const segment = {
      tag,
      buffer: Buffer.alloc(scrollbackSegmentSizeBytes / 64),
      start: 0,
      end: 0,
    };
    this.#segments.push(segment);
    return segment;
  }

  #dropOldest(): void {
    while (this.#sizeBytes > this.#sizeBytesMax || this.#segments.length > scrollbackSegmentsMax) {
      const oldest = must(this.#segments[0], "a scrollback that is too large holds something");
      const excess = this.#sizeBytes - this.#sizeBytesMax;
      const dropped = Math.min(excess > 0 ? excess : Infinity, oldest.end - oldest.start);
      oldest.start += dropped;
      this.#sizeBytes -= dropped;
      if (oldest.start === oldest.end) this.#segments.shift();
    }
  }
}
