/** Freezing a file system, with the promise that it never stays frozen. Used by the host helper only. */
import { closeSync, openSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import { withExpeditedGracePeriods } from "./expedited-grace-periods.ts";
import { freezeTimeMsMax, thawRetryMs } from "./limits.ts";
import { ioctlAside } from "./system-calls.ts";

const freezeRequest = 0xc0045877;
const thawRequest = 0xc0045878;

interface Frozen {
  descriptor: number;
  watchdog: NodeJS.Timeout;
}

export class Freezer {
  readonly #frozen = new Map<string, Frozen>();
  readonly #waiting: Array<() => void> = [];

  /**
   * While a file system is frozen nothing else may run here: it could wait for that file system,
   * and the watchdog for it.
   */
  async whenThawed(): Promise<void> {
    while (this.#frozen.size > 0) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** Resolves when nothing more reaches the device. Thaws by itself after the given time. */
  async freeze(directory: string, timeMsMax: number): Promise<void> {
    if (this.#frozen.has(directory)) throw new Error(`${directory} is frozen already`);
    const descriptor = openSync(directory, "r");
    try {
      await withExpeditedGracePeriods(() =>
        ioctlAside(descriptor, freezeRequest, `freeze ${directory}`),
      );
    } catch (error) {
      closeSync(descriptor);
      throw error;
    }
    const watchdog = setTimeout(
      () => void this.#thawInsistently(directory),
      Math.min(timeMsMax, freezeTimeMsMax),
    );
    this.#frozen.set(directory, { descriptor, watchdog });
  }

  /** True when this freezer had frozen it and it had not thawed by itself. */
  async thaw(directory: string): Promise<boolean> {
    const frozen = this.#frozen.get(directory);
    if (frozen === undefined) return false;
    clearTimeout(frozen.watchdog);
    await ioctlAside(frozen.descriptor, thawRequest, `thaw ${directory}`);
    this.#frozen.delete(directory);
    closeSync(frozen.descriptor);
    for (const wake of this.#waiting.splice(0)) wake();
    return true;
  }

  /** Before the process ends: a file system that stays frozen can never be unmounted. */
  async thawAll(): Promise<void> {
    await Promise.all(
      [...this.#frozen.keys()].map((directory) => this.#thawInsistently(directory)),
    );
  }

  async #thawInsistently(directory: string): Promise<void> {
    while (this.#frozen.has(directory)) {
      try {
        await this.thaw(directory);
      } catch {
        // The request itself failed, and the file system may still be frozen: trying again is the
        // only thing that helps.
        await sleep(thawRetryMs);
      }
    }
  }
}

/** Thaws a file system that somebody else froze and left. True when it was frozen. */
export async function thawForeign(directory: string): Promise<boolean> {
  const descriptor = openSync(directory, "r");
  try {
    await ioctlAside(descriptor, thawRequest, `thaw ${directory}`);
    return true;
  } catch {
    // EINVAL: it is not frozen, which is what the caller wants of it.
    return false;
  } finally {
    closeSync(descriptor);
  }
}
