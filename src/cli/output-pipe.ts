import { writev } from "node:fs";
import { queueHighBytes, queueLowBytes } from "./limits.ts";

/** Buffers that one system call takes; Linux allows 1,024. */
const buffersPerWriteMax = 64;
/** Somebody else may have made our pipe non-blocking; then writing is tried again after this. */
const retryDelayMs = 2;

/**
 * Writes bytes to a file descriptor in order, off the main thread, so that a slow reader never
 * stops signals and sockets from being served. Node's own stdout blocks the event loop on pipes.
 */
export class OutputPipe {
  readonly #fd: number;
  readonly #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #isWriting = false;
  #failure: NodeJS.ErrnoException | null = null;
  #idleWaiters: (() => void)[] = [];
  #isAboveHigh = false;

  /** Called when the queue, having been above the high mark, is below the low one. */
  onDrain: (() => void) | null = null;
  /** Called once when writing failed; `EPIPE` means that the reader has gone. */
  onFailure: ((error: NodeJS.ErrnoException) => void) | null = null;

  constructor(fd: number) {
    this.#fd = fd;
  }

  get failure(): NodeJS.ErrnoException | null {
    return this.#failure;
  }

  get isFull(): boolean {
    return this.#queuedBytes > queueHighBytes;
  }

  /** Queues the bytes; the caller must not change them afterwards. After a failure they are dropped. */
  write(data: Uint8Array | string): void {
    if (this.#failure !== null) return;
    const bytes = typeof data === "string" ? Buffer.from(data) : data;
    if (bytes.byteLength === 0) return;
    this.#queue.push(bytes);
    this.#queuedBytes += bytes.byteLength;
    if (this.isFull) this.#isAboveHigh = true;
    if (!this.#isWriting) this.#writeNext();
  }

  /** Resolves when every byte was taken by the kernel, or writing has failed. */
  flush(): Promise<void> {
    if (!this.#isWriting) return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  #writeNext(): void {
    this.#isWriting = true;
    const buffers = this.#queue.slice(0, buffersPerWriteMax);
    writev(this.#fd, buffers, (error, written) => {
      if (error === null) this.#onWritten(written);
      else if (error.code === "EAGAIN") setTimeout(() => this.#writeNext(), retryDelayMs);
      else this.#onError(error);
    });
  }

  #onWritten(writtenBytes: number): void {
    this.#queuedBytes -= writtenBytes;
    let left = writtenBytes;
    while (left > 0) {
      const head = this.#queue[0];
      if (head === undefined) break;
      if (left >= head.byteLength) this.#queue.shift();
      else this.#queue[0] = head.subarray(left);
      left -= Math.min(left, head.byteLength);
    }
    if (this.#queue.length > 0) this.#writeNext();
    else this.#becomeIdle();
    if (this.#isAboveHigh && this.#queuedBytes <= queueLowBytes) {
      this.#isAboveHigh = false;
      this.onDrain?.();
    }
  }

  #onError(error: NodeJS.ErrnoException): void {
    this.#failure = error;
    this.#queue.length = 0;
    this.#queuedBytes = 0;
    this.#becomeIdle();
    this.onFailure?.(error);
  }

  #becomeIdle(): void {
    this.#isWriting = false;
    const waiters = this.#idleWaiters;
    this.#idleWaiters = [];
    for (const wake of waiters) wake();
  }
}
