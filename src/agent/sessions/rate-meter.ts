import { rateWindowSeconds } from "./limits.ts";

/** Bytes a second over the last whole seconds. */
export class RateMeter {
  readonly #bytesBySecond = new Map<number, number>();

  add(bytes: number, nowMs: number): void {
    const second = Math.floor(nowMs / 1000);
    this.#bytesBySecond.set(second, (this.#bytesBySecond.get(second) ?? 0) + bytes);
    for (const key of this.#bytesBySecond.keys()) {
      if (key < second - rateWindowSeconds) this.#bytesBySecond.delete(key);
    }
  }

  bytesPerSecond(nowMs: number): number {
    const second = Math.floor(nowMs / 1000);
    let total = 0;
    for (const [key, bytes] of this.#bytesBySecond) {
      if (key > second - rateWindowSeconds) total += bytes;
    }
    return total / rateWindowSeconds;
  }
}
