import { assert } from "../../base/assert.ts";

/** What the writer needs of a response. */
export interface ChunkSink {
  write(bytes: Buffer): boolean;
  end(): void;
}

/**
 * Writes chunks with a gap between them. HTTP exec has no lengths: one frame is one chunk, and JavaScript's fetch joins
 * chunks that arrive together (contract.md section 3.8). The agent leaves gaps, which a busy moment here would close.
 */
export class PacedWriter implements ChunkSink {
  readonly #sink: ChunkSink;
  readonly #gapMs: number;
  readonly #queue: Buffer[] = [];
  readonly #onIdle: () => void;
  #timer: NodeJS.Timeout | null = null;
  #nextWriteMs = 0;
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
    if (this.#queue.length > 0 || performance.now() < this.#nextWriteMs) {
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
    this.#nextWriteMs = performance.now() + this.#gapMs;
    return this.#sink.write(bytes);
  }

  #schedule(): void {
    this.#timer ??= setTimeout(
      () => this.#writeQueued(),
      Math.ceil(this.#nextWriteMs - performance.now()),
    );
  }

  #writeQueued(): void {
    this.#timer = null;
    const next = this.#queue[0];
    if (next === undefined) return;
    // Timers may fire a little early.
    if (performance.now() >= this.#nextWriteMs) {
      this.#queue.shift();
      this.#writeNow(next);
    }
    if (this.#queue.length > 0) this.#schedule();
    else if (this.#ending) this.#sink.end();
    else this.#onIdle();
  }
}
