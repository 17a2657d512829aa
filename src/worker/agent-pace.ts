import { agentStartsInARowMax, shortAgentLifeMsMax, takeoversInARowMax } from "./limits.ts";

/** What becomes of a child that ended by itself. */
export type NextAgent =
  /** Another one goes on with what the dead one served. */
  | "take_over"
  /** Everything of it is cleared up, and another one starts from nothing. */
  | "start_anew"
  | "give_up";

/**
 * Decides what follows an end that nobody asked for. One that keeps ending must not be started for
 * ever, and what it cannot live with may be what it took over.
 */
export class AgentPace {
  #shortLives = 0;

  /** The time since it said that it serves; null when it never did. */
  next(livedMs: number | null): NextAgent {
    const isShort = livedMs === null || livedMs < shortAgentLifeMsMax;
    this.#shortLives = isShort ? this.#shortLives + 1 : 0;
    if (this.#shortLives <= takeoversInARowMax) return "take_over";
    return this.#shortLives <= agentStartsInARowMax ? "start_anew" : "give_up";
  }
}
