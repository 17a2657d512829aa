import type { Spinner } from "../spinner.ts";
import { formatBytes } from "../text.ts";

/** What a copy has done so far, shown on the spinner's line. */
export class Progress {
  readonly #spinner: Spinner;
  readonly #verb: string;
  #files = 0;
  #sizeBytes = 0;
  readonly problems: string[] = [];

  constructor(spinner: Spinner, verb: string) {
    this.#spinner = spinner;
    this.#verb = verb;
  }

  get totals(): { files: number; sizeBytes: number } {
    return { files: this.#files, sizeBytes: this.#sizeBytes };
  }

  addBytes(count: number): void {
    this.#sizeBytes += count;
    this.#show();
  }

  addFile(): void {
    this.#files++;
    this.#show();
  }

  /** Something that was left out; the rest goes on. */
  addProblem(text: string): void {
    this.problems.push(text);
  }

  #show(): void {
    const count = this.#files > 1 ? `, ${this.#files} files` : "";
    this.#spinner.text = `${this.#verb}: ${formatBytes(this.#sizeBytes)}${count}`;
  }
}

/** Does the work on all items, some at once. The first failure ends it, after those under way. */
export async function forEachOf<T>(
  items: readonly T[],
  concurrency: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  let next = 0;
  let hasFailed = false;
  const runner = async (): Promise<void> => {
    for (;;) {
      const item = items[next++];
      if (item === undefined || hasFailed) return;
      try {
        await work(item);
      } catch (error) {
        hasFailed = true;
        throw error;
      }
    }
  };
  const runners = Array.from({ length: Math.min(concurrency, items.length) }, runner);
  const results = await Promise.allSettled(runners);
  for (const result of results) if (result.status === "rejected") throw result.reason;
}
