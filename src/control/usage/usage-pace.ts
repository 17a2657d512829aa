/** Reading a large organization's usage takes its time, which others of the server must not wait for. */
import { setTimeout as delay } from "node:timers/promises";
import { SpriteError } from "../../contract/errors.ts";
import type { Organization } from "../organization.ts";
import { usageQuestionsMax, usageRestFactor } from "./limits.ts";

interface Turn {
  waiting: number;
  last: Promise<void>;
}

/** One question of an organization at a time, and a rest after each that is a multiple of what it took. */
export class UsagePace {
  readonly #turns = new WeakMap<Organization, Turn>();

  /** @throws SpriteError rate_limited */
  async run<T>(organization: Organization, work: () => T): Promise<T> {
    const turn = this.#turns.get(organization) ?? { waiting: 0, last: Promise.resolve() };
    this.#turns.set(organization, turn);
    if (turn.waiting >= usageQuestionsMax) {
      const message = "too many questions about usage at once; try again";
      throw new SpriteError("rate_limited", message, { details: { retry_after_seconds: 1 } });
    }
    turn.waiting += 1;
    const before = turn.last;
    const mine = Promise.withResolvers<void>();
    turn.last = mine.promise;
    await before;
    const startMs = performance.now();
    try {
      return work();
    } finally {
      turn.waiting -= 1;
      const restMs = (performance.now() - startMs) * usageRestFactor;
      void delay(restMs, undefined, { ref: false }).then(() => mine.resolve());
    }
  }
}
