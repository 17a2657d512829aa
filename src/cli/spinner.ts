import { spinnerDelayMs, spinnerIntervalMs } from "./limits.ts";
import type { OutputPipe } from "./output-pipe.ts";

const frames = ["|", "/", "-", "\\"] as const;
const clearLine = "\r\u001b[K";

/** A sign of life on stderr for what takes longer than a second, only when a person watches. */
export class Spinner {
  readonly #err: OutputPipe;
  #text: string;
  #delay: NodeJS.Timeout | undefined;
  #ticker: NodeJS.Timeout | undefined;
  #frame = 0;
  #startedMs = performance.now();

  constructor(options: { err: OutputPipe; isWatched: boolean; text: string }) {
    this.#err = options.err;
    this.#text = options.text;
    if (!options.isWatched) return;
    this.#delay = setTimeout(() => this.#begin(), spinnerDelayMs);
    this.#delay.unref();
  }

  set text(text: string) {
    this.#text = text;
  }

  /** Takes the line away; safe to call more than once. */
  stop(): void {
    clearTimeout(this.#delay);
    if (this.#ticker === undefined) return;
    clearInterval(this.#ticker);
    this.#ticker = undefined;
    this.#err.write(clearLine);
  }

  #begin(): void {
    this.#draw();
    this.#ticker = setInterval(() => this.#draw(), spinnerIntervalMs);
    this.#ticker.unref();
  }

  #draw(): void {
    const seconds = Math.floor((performance.now() - this.#startedMs) / 1000);
    const frame = frames[this.#frame++ % frames.length];
    this.#err.write(`${clearLine}${frame} ${this.#text} (${seconds} s)`);
  }
}
