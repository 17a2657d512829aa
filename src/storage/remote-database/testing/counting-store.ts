import type { ReadableStore } from "../ltx-object.ts";
import type { ChainFile } from "./chain.ts";

/**
 * The files of a chain as a store that notes each read. Reads wait while it is held, and are let go one after the other
 * or all at once, so that a test decides what happens between two of them.
 */
export class CountingStore implements ReadableStore {
  readonly requests: string[] = [];
  readonly #objects: Map<string, Uint8Array>;
  #held: Array<() => void> | null = null;
  waitingCountMax = 0;

  constructor(files: readonly ChainFile[]) {
    this.#objects = new Map(files.map(({ key, bytes }) => [key, bytes]));
  }

  /** Makes every read from now on wait. */
  hold(): void {
    this.#held ??= [];
  }

  get waitingCount(): number {
    return this.#held?.length ?? 0;
  }

  /** Lets the reads that wait go, and those to come. */
  release(): void {
    const held = this.#held ?? [];
    this.#held = null;
    for (const letGo of held) letGo();
  }

  /** Lets only the read go that waits longest. */
  releaseOne(): void {
    this.#held?.shift()?.();
  }

  replace(key: string, bytes: Uint8Array | null): void {
    if (bytes === null) this.#objects.delete(key);
    else this.#objects.set(key, bytes);
  }

  async get(key: string): Promise<Uint8Array | null> {
    await this.#request(`${key} all`);
    return this.#objects.get(key) ?? null;
  }

  async getRange(key: string, offset: number, length: number): Promise<Uint8Array | null> {
    await this.#request(`${key} ${offset}+${length}`);
    return this.#objects.get(key)?.subarray(offset, offset + length) ?? null;
  }

  async #request(what: string): Promise<void> {
    this.requests.push(what);
    const held = this.#held;
    if (held === null) return;
    await new Promise<void>((resolve) => {
      held.push(resolve);
      this.waitingCountMax = Math.max(this.waitingCountMax, held.length);
    });
  }
}
