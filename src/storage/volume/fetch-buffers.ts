/**
 * Memory that large fetches are put into, used again and again: new memory for each costs page faults and keeps the collector busy. It is
 * given back when nothing was fetched for a while.
 */
import { fetchBufferIdleMs, fetchBuffersMax, fetchSizeBytesMax } from "./limits.ts";

/** Smaller fetches get memory of their own. */
const sizeBytesMin = fetchSizeBytesMax / 4;

export class FetchBuffers {
  readonly #free: Uint8Array[] = [];
  #timer: NodeJS.Timeout | null = null;

  /** Undefined when the size is not worth it. */
  take(sizeBytes: number): Uint8Array | undefined {
    if (sizeBytes < sizeBytesMin || sizeBytes > fetchSizeBytesMax) return undefined;
    return this.#free.pop() ?? new Uint8Array(fetchSizeBytesMax);
  }

  /** Nothing may refer to it any more. */
  give(buffer: Uint8Array | undefined): void {
    if (buffer === undefined || this.#free.length >= fetchBuffersMax) return;
    this.#free.push(buffer);
    this.#timer ??= setTimeout(() => (this.#free.length = 0), fetchBufferIdleMs).unref();
    this.#timer.refresh();
  }
}
