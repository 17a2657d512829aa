import { assert } from "../../base/assert.ts";
import { exitChunkGapMs, exitChunkSizeBytes } from "./limits.ts";

/** What the writer needs of a response. */
export interface ChunkSink {
  write(bytes: Buffer): boolean;
  end(): void;
}

/**
 * Writes chunks with a gap between them. HTTP exec has no lengths: one frame is one chunk, and
 * JavaScript's fetch joins chunks that arrive together (contract.md section 3.8). The agent leaves
 * gaps, which a busy moment here would close.
 */
export class PacedWriter implements ChunkSink {
  readonly #sink: ChunkSink;
  readonly #gapMs: number;
  readonly #queue: Buffer[] = [];
  readonly #onIdle: () => void;
  #timer: NodeJS.Timeout | null = null;
  #lastWriteMs = -Infinity;
  #ending = false;

  /** @param onIdle called when everything was written after `write` had returned false */
  constructor(sink: ChunkSink, options: { gapMs: number; onIdle: () => void }) {
    this.#sink = sink;
    this.#gapMs = options.gapMs;
    this.#onIdle = options.onIdle;
  }

  /** False asks the caller to wait until `onIdle`. */
  write(bytes: Buffer): boolean {
    assert(!this.#ending, "nothing is written after the end");
    if (this.#queue.length > 0 || performance.now() < this.#dueMs(bytes)) {
      this.#queue.push(bytes);
      this.#schedule();
      return false;
    }
    return this.#writeNow(bytes);
  }

  end(): void {
    this.#ending = true;
    if (this.#queue.length === 0) this.#sink.end();
  }

  /** Drops what was not written yet. */
  cancel(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#queue.length = 0;
  }

  #writeNow(bytes: Buffer): boolean {
    this.#lastWriteMs = performance.now();
    return this.#sink.write(bytes);
  }

  #dueMs(bytes: Buffer): number {
    if (this.#gapMs === 0) return 0;
    const gapMs = bytes.length <= exitChunkSizeBytes ? exitChunkGapMs : this.#gapMs;
    return this.#lastWriteMs + gapMs;
  }

  #schedule(): void {
    const next = this.#queue[0];
    if (next === undefined) return;
    const waitMs = Math.max(0, Math.ceil(this.#dueMs(next) - performance.now()));
    this.#timer ??= setTimeout(() => this.#writeQueued(), waitMs);
  }

  #writeQueued(): void {
    this.#timer = null;
    const next = this.#queue[0];
    if (next === undefined) return;
    // Timers may fire a little early.
    if (performance.now() >= this.#dueMs(next)) {
      this.#queue.shift();
      this.#writeNow(next);
    }
    if (this.#queue.length > 0) this.#schedule();
    else if (this.#ending) this.#sink.end();
    else this.#onIdle();
  }
}
