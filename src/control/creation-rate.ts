import { SpriteError } from "../contract/errors.ts";
import { creationWindowMs } from "./limits.ts";

/** How many sprites an organization makes in a minute that slides; kept in memory, as a guard against loops gone wild. */
export class CreationRate {
  readonly #countMax: number | null;
  readonly #now: () => number;
  /** When each of the window's sprites was made, oldest first. */
  readonly #timesMs = new Map<string, number[]>();

  /** @param countMax null: as many as it likes */
  constructor(countMax: number | null, now: () => number = () => performance.now()) {
    this.#countMax = countMax;
    this.#now = now;
  }

  /** @throws SpriteError sprite_creation_rate_limited */
  assertOpen(organizationSlug: string): void {
    const times = this.#recent(organizationSlug);
    const [oldestMs] = times;
    if (this.#countMax === null || times.length < this.#countMax || oldestMs === undefined) return;
    const waitMs = oldestMs + creationWindowMs - this.#now();
    throw new SpriteError("sprite_creation_rate_limited", "too many sprites were made just now", {
      details: {
        limit: this.#countMax,
        window_seconds: creationWindowMs / 1000,
        retry_after_seconds: Math.max(1, Math.ceil(waitMs / 1000)),
        current_count: times.length,
      },
    });
  }

  note(organizationSlug: string): void {
    if (this.#countMax === null) return;
    this.#timesMs.set(organizationSlug, [...this.#recent(organizationSlug), this.#now()]);
  }

  #recent(organizationSlug: string): number[] {
    const sinceMs = this.#now() - creationWindowMs;
    return (this.#timesMs.get(organizationSlug) ?? []).filter((timeMs) => timeMs > sinceMs);
  }
}
