import { SpriteError } from "../../contract/errors.ts";
import { failedAttemptsMax, failedAttemptsWindowMs, failingAddressesMax } from "../limits.ts";

/** Wrong secrets and codes by address: an admin secret was chosen by a person and may be guessed. */
export class FailedAttempts {
  readonly #now: () => number;
  readonly #timesMs = new Map<string, number[]>();

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** @throws SpriteError rate_limited when this address has failed too often lately */
  assertAllowed(address: string): void {
    const recent = this.#recent(address);
    const [oldestMs] = recent;
    if (oldestMs === undefined || recent.length < failedAttemptsMax) return;
    const waitMs = oldestMs + failedAttemptsWindowMs - this.#now();
    throw new SpriteError(
      "rate_limited",
      "too many wrong attempts from your address; wait a little",
      {
        details: { retry_after_seconds: Math.max(1, Math.ceil(waitMs / 1000)) },
      },
    );
  }

  note(address: string): void {
    const recent = [...this.#recent(address), this.#now()].slice(-failedAttemptsMax);
    // Put anew, so that the map stays in the order of the last failure, and the oldest is dropped.
    this.#timesMs.delete(address);
    this.#timesMs.set(address, recent);
    if (this.#timesMs.size <= failingAddressesMax) return;
    const [oldest] = this.#timesMs.keys();
    if (oldest !== undefined) this.#timesMs.delete(oldest);
  }

  #recent(address: string): number[] {
    const sinceMs = this.#now() - failedAttemptsWindowMs;
    return (this.#timesMs.get(address) ?? []).filter((timeMs) => timeMs > sinceMs);
  }
}
