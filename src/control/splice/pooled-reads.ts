/** Buffers that are read into again and again, for a connection that carries much. */

/** What Node reads at a time without being told. */
const bufferBytes = 64 * 1024;

/**
 * Each read into new memory would have the garbage collector look at everything once for some sixty
 * megabytes, which costs more than passing them on. A buffer that is lent comes back when its bytes have
 * been written; one that never does is the collector's.
 */
export class PooledReads {
  readonly #free: Buffer[] = [];
  readonly #onBytes: (bytes: Buffer, free: () => void) => void;

  /** @param onBytes gets what was read, and what is to be called when nobody needs it any more */
  constructor(onBytes: (bytes: Buffer, free: () => void) => void) {
    this.#onBytes = onBytes;
  }

  /** As `net.connect` takes it: the socket then has no `data` events. */
  get options(): {
    buffer: () => Buffer;
    callback: (count: number, buffer: Uint8Array) => boolean;
  } {
    return {
      buffer: () => this.#free.pop() ?? Buffer.allocUnsafeSlow(bufferBytes),
      callback: (count, bytes) => {
        const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
        this.#onBytes(buffer.subarray(0, count), () => this.#free.push(buffer));
        // Whoever wants a pause asks the socket for it.
        return true;
      },
    };
  }
}
