/**
 * How much a sprite can say to the world by asking for names: under a wildcard the open part of each
 * name reaches whoever runs the domain's name servers. Names that were asked before cost nothing,
 * since they say nothing new. Pure.
 */
import {
  nameBudgetBytesMax,
  nameBudgetBytesPerSecond,
  openNameLengthMax,
  rememberedNamesMax,
} from "./limits.ts";
import { RateBudget } from "./rate-budget.ts";

export class NameBudget {
  readonly #asked = new Set<string>();
  readonly #bytes: RateBudget;

  constructor(nowMs: number) {
    const perSecond = nameBudgetBytesPerSecond;
    this.#bytes = new RateBudget({ max: nameBudgetBytesMax, perSecond, nowMs });
  }

  /** True when the name may be asked for. */
  spend(name: string, openLength: number, nowMs: number): boolean {
    if (openLength === 0 || this.#asked.has(name)) return true;
    if (openLength > openNameLengthMax) return false;
    if (!this.#bytes.spend(openLength, nowMs)) return false;
    this.#asked.add(name);
    if (this.#asked.size > rememberedNamesMax) {
      const [oldest] = this.#asked;
      if (oldest !== undefined) this.#asked.delete(oldest);
    }
    return true;
  }
}
