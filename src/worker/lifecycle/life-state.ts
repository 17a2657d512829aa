/**
 * Where a sprite is in its life on this machine, and what each event makes of that. Pure: the table says all there is.
 *
 * `cold`: nothing of it runs. `starting`: its agent is coming up. `serving`: an agent serves, or the one that follows a dead one is coming.
 * `asking`: its agent is asked whether it may end, and new requests wait for the answer. `stopping`: it ends, and requests wait to start it
 * anew. `destroying`: it ends and nothing starts it any more. `destroyed`: it has ended so.
 */
import type { SpriteStatus } from "../../contract/sprite.ts";

export type Phase =
  | "cold"
  | "starting"
  | "serving"
  | "asking"
  | "stopping"
  | "destroying"
  | "destroyed";

/** What the agent said last of the sprite's processes; `unknown` while no agent has said anything. */
export type Rest = "unknown" | "awake" | "freezing" | "frozen" | "thawing";

/**
 * `adopt`: an agent that serves already becomes its own. `granted`, `refused`: what the agent says to being asked. `ended`: nothing of
 * it runs any more, however it ended.
 */
export type LifeEvent =
  | "start"
  | "adopt"
  | "serves"
  | "ask"
  | "granted"
  | "refused"
  | "stop"
  | "destroy"
  | "ended";

export interface LifeState {
  readonly phase: Phase;
  readonly rest: Rest;
}

export const firstState: LifeState = { phase: "cold", rest: "unknown" };

/** Null: it cannot happen, and whoever lets it happen has a bug. The own name: it changes nothing. */
const table: Readonly<Record<Phase, Readonly<Record<LifeEvent, Phase | null>>>> = {
  cold: {
    ...{
      start: "starting",
      adopt: "serving",
      serves: null,
      ask: null,
      granted: null,
      refused: null,
    },
    ...{ stop: "cold", destroy: "destroyed", ended: null },
  },
  starting: {
    ...{ start: null, adopt: null, serves: "serving", ask: null, granted: null, refused: null },
    ...{ stop: "stopping", destroy: "destroying", ended: "cold" },
  },
  serving: {
    ...{ start: null, adopt: null, serves: null, ask: "asking", granted: null, refused: null },
    ...{ stop: "stopping", destroy: "destroying", ended: "cold" },
  },
  asking: {
    ...{
      start: null,
      adopt: null,
      serves: null,
      ask: null,
      granted: "stopping",
      refused: "serving",
    },
    ...{ stop: "stopping", destroy: "destroying", ended: "cold" },
  },
  stopping: {
    ...{ start: null, adopt: null, serves: null, ask: null, granted: null, refused: null },
    ...{ stop: "stopping", destroy: "destroying", ended: "cold" },
  },
  destroying: {
    ...{ start: null, adopt: null, serves: null, ask: null, granted: null, refused: null },
    ...{ stop: "destroying", destroy: "destroying", ended: "destroyed" },
  },
  destroyed: {
    ...{ start: null, adopt: null, serves: null, ask: null, granted: null, refused: null },
    ...{ stop: "destroyed", destroy: "destroyed", ended: null },
  },
};

/** Null when the event cannot happen in that state. */
export function after(state: LifeState, event: LifeEvent): LifeState | null {
  const phase = table[state.phase][event];
  if (phase === null) return null;
  if (phase === "cold" || phase === "starting" || phase === "destroyed") {
    return { phase, rest: "unknown" };
  }
  // An agent that has only just come says nothing of processes that run.
  const isNew = event === "serves" && state.rest === "unknown";
  return { phase, rest: isNew ? "awake" : state.rest };
}

/** What an agent says while there is none is late, and means nothing. */
export function afterWord(state: LifeState, rest: Rest): LifeState {
  const isThere = !["cold", "destroyed"].includes(state.phase);
  return isThere ? { phase: state.phase, rest } : state;
}

/** Whoever is on the way to another state still shows the one it comes from. */
export function statusOf({ phase, rest }: LifeState): SpriteStatus {
  if (phase === "cold" || phase === "starting" || phase === "destroyed") return "cold";
  if (rest === "unknown") return "cold";
  return rest === "frozen" || rest === "thawing" ? "warm" : "running";
}

/** The status that it is on the way to; null when it is on no way. */
export function headingFor({ phase, rest }: LifeState): SpriteStatus | null {
  if (phase === "starting") return "running";
  if (phase === "stopping" || phase === "destroying") return "cold";
  if (rest === "freezing") return "warm";
  return rest === "thawing" ? "running" : null;
}
