/** The one owner of one sprite's life on this machine: whatever starts, suspends, stops or destroys it goes through here. */
import { assert, must } from "../../base/assert.ts";
import type { Log } from "../../base/log.ts";
import { withDeadline } from "../../base/wait.ts";
import { SpriteError } from "../../contract/errors.ts";
import type { SpriteStatus } from "../../contract/sprite.ts";
import type { SpriteTransition } from "../worker.ts";
import {
  after,
  afterWord,
  firstState,
  headingFor,
  statusOf,
  type LifeEvent,
  type LifeState,
  type Rest,
} from "./life-state.ts";
import { heldMsMax, heldRetrySeconds, stuckMsMax } from "./limits.ts";

export interface Served {
  socketPath: string;
}

/** From a start until nothing is left, whatever agents come and go meanwhile. */
export interface LifeProcess {
  /** Settles when nothing of the sprite runs any more. Never rejects. */
  readonly ended: Promise<void>;
  /** @throws SpriteError why it does not serve */
  ready(): Promise<Served>;
  stop(options: { discard: boolean }): Promise<void>;
  /** Ends the agent at once; another takes its place unless the sprite is stopping. */
  killAgent(): void;
}

export interface ProcessHooks {
  onRest: (rest: Rest, because: string) => void;
  /** Called once, before `ended` settles. */
  onEnded: () => void;
}

export interface LifeParts<Spec> {
  /** @throws SpriteError unavailable: there is no room, or the server stops */
  makeProcess: (spec: Spec, hooks: ProcessHooks) => LifeProcess;
  /** Called when the status has changed. */
  onStatus: (status: SpriteStatus, because: string) => void;
  /** Called when a transition has taken too long, before something is done about it. */
  onStuck: (transition: SpriteTransition) => void;
  log: Log;
  now?: () => number;
}

/** Asks a running sprite's agent whether it may end; null: yes. Must settle. */
export type Question = (served: Served) => Promise<SpriteError | null>;

interface Run {
  process: LifeProcess;
  isStopAsked: boolean;
  /** Why it ends; null: nobody wanted it to. */
  endsBecause: string | null;
}

export class SpriteLife<Spec> {
  readonly #parts: LifeParts<Spec>;
  readonly #now: () => number;
  #state: LifeState = firstState;
  #run: Run | null = null;
  /** Settles when it is not being asked any more. */
  #decision: PromiseWithResolvers<void> | null = null;
  #transition: SpriteTransition | null = null;
  #watch: NodeJS.Timeout | null = null;

  constructor(parts: LifeParts<Spec>) {
    this.#parts = parts;
    this.#now = parts.now ?? Date.now;
  }

  get status(): SpriteStatus {
    return statusOf(this.#state);
  }

  get transition(): SpriteTransition | null {
    return this.#transition;
  }

  /** Nothing starts it any more. */
  get isDestroyed(): boolean {
    return this.#state.phase === "destroying" || this.#state.phase === "destroyed";
  }

  /** Somebody waits for its agent to come up. */
  get isStarting(): boolean {
    return this.#state.phase === "starting";
  }

  /** It has an agent, or gets the next one, and nobody ends it. */
  get isServing(): boolean {
    return this.#state.phase === "serving" || this.#state.phase === "asking";
  }

  /** Takes a process that serves already, by an earlier server's doing or ahead of time. */
  adopt(
    take: (hooks: ProcessHooks) => LifeProcess,
    { rest, because }: { rest: Rest; because: string },
  ): void {
    this.#hold(take);
    this.#apply("adopt", because, rest);
  }

  /**
   * Starts it unless it runs; those who come together share one start, and whoever meets it stopping waits and gets the next one.
   * @throws SpriteError not_found: it is being destroyed; start_failed; unavailable: not within a minute
   */
  async need(spec: Spec, because: string): Promise<Served> {
    let isGivenUp = false;
    return await withDeadline(
      this.#need(spec, because, () => isGivenUp),
      {
        timeoutMs: heldMsMax,
        onTimeout: () => {
          isGivenUp = true;
          return heldTooLong(this.#transition);
        },
      },
    );
  }

  async #need(spec: Spec, because: string, isGivenUp: () => boolean): Promise<Served> {
    while (!isGivenUp()) {
      await this.whenDecided();
      const { phase } = this.#state;
      if (this.isDestroyed) throw goneError();
      if (phase === "cold") this.#start(spec, because);
      const run = must(this.#run, "what is not cold has a process");
      try {
        const served = await run.process.ready();
        this.#onServes(run, because);
        if (this.#run === run && this.#state.phase === "serving") return served;
      } catch (error) {
        // One that was stopped while it came up is nobody's failure: the next start is waited for.
        if (!run.isStopAsked) throw error;
        await run.process.ended;
      }
    }
    throw heldTooLong(this.#transition);
  }

  /** Settles when it is neither asked whether it may end, nor ending. */
  async whenDecided(): Promise<void> {
    for (;;) {
      const { phase } = this.#state;
      if (phase === "asking") await this.#decision?.promise;
      else if (phase === "stopping") await this.#run?.process.ended;
      else return;
    }
  }

  /** Ends one that is suspended, unless it is needed; false when it is. */
  async retire(because: string, question: Question): Promise<boolean> {
    const { phase, rest } = this.#state;
    if (this.#run === null) return true;
    if (phase !== "serving" || rest !== "frozen") return false;
    return (await this.#ask(because, question)) === null;
  }

  /** Ends it when its agent agrees. @throws SpriteError why it does not */
  async sleep(because: string, question: Question): Promise<void> {
    // One that comes up has to, before somebody can be asked.
    if (this.#state.phase === "starting") await this.#run?.process.ready();
    await this.whenDecided();
    if (this.#state.phase !== "serving") return;
    const refusal = await this.#ask(because, question);
    if (refusal !== null) throw refusal;
  }

  async #ask(because: string, question: Question): Promise<SpriteError | null> {
    const run = must(this.#run, "what serves has a process");
    this.#decision = Promise.withResolvers();
    this.#apply("ask", because);
    let refusal: SpriteError | null;
    try {
      refusal = await question(await run.process.ready());
    } catch (cause) {
      refusal = new SpriteError("unavailable", "the sprite's agent does not answer", { cause });
    }
    // Somebody who did not ask may have ended it meanwhile.
    if (this.#run !== run || this.#state.phase !== "asking") {
      await run.process.ended;
      return null;
    }
    this.#apply(refusal === null ? "granted" : "refused", because);
    if (refusal === null) await this.#end(run, { discard: false, because });
    return refusal;
  }

  /** Ends it whatever goes on in it; its disk is stored. */
  async stop(because: string): Promise<void> {
    const run = this.#run;
    if (run === null) return;
    this.#apply("stop", because);
    await this.#end(run, { discard: false, because });
  }

  /** Ends it for good. Settles when no process of it is left. */
  async destroy(): Promise<void> {
    const run = this.#run;
    this.#apply("destroy", "it was destroyed");
    if (run !== null) await this.#end(run, { discard: true, because: "it was destroyed" });
  }

  async #end(run: Run, options: { discard: boolean; because: string }): Promise<void> {
    run.isStopAsked = true;
    run.endsBecause ??= options.because;
    await run.process.stop({ discard: options.discard });
  }

  #start(spec: Spec, because: string): void {
    const run = this.#hold((hooks) => this.#parts.makeProcess(spec, hooks));
    this.#apply("start", because);
    run.process.ready().then(
      () => this.#onServes(run, because),
      // Told to whoever needs it.
      () => undefined,
    );
  }

  #hold(take: (hooks: ProcessHooks) => LifeProcess): Run {
    assert(this.#run === null, "a sprite has one process");
    const run: Omit<Run, "process"> = { isStopAsked: false, endsBecause: null };
    const process = take({
      onRest: (rest, why) => {
        if (this.#run === run) this.#change(afterWord(this.#state, rest), why);
      },
      onEnded: () => {
        if (this.#run !== run) return;
        this.#run = null;
        this.#apply("ended", run.endsBecause ?? "it ended by itself");
      },
    });
    this.#run = Object.assign(run, { process });
    return this.#run;
  }

  #onServes(run: Run, because: string): void {
    if (this.#run === run && this.#state.phase === "starting") this.#apply("serves", because);
  }

  #apply(event: LifeEvent, because: string, rest?: Rest): void {
    const next = after(this.#state, event);
    assert(next !== null, `a sprite that is ${this.#state.phase} gets the event ${event}`);
    this.#change(rest === undefined ? next : afterWord(next, rest), because);
  }

  #change(next: LifeState, because: string): void {
    const before = this.#state;
    this.#state = next;
    if (before.phase === "asking" && next.phase !== "asking") {
      this.#decision?.resolve();
      this.#decision = null;
    }
    this.#noteTransition(headingFor(next));
    const status = statusOf(next);
    if (status !== statusOf(before)) this.#parts.onStatus(status, because);
  }

  #noteTransition(to: SpriteStatus | null): void {
    if ((this.#transition?.to ?? null) === to) return;
    if (this.#watch !== null) clearTimeout(this.#watch);
    this.#transition = to === null ? null : { to, sinceMs: this.#now() };
    this.#watch =
      to === null ? null : setTimeout(() => this.#onStuck(), stuckMsMax(this.#state)).unref();
  }

  /** Nothing that is done about it can hang here: each of it ends processes. */
  #onStuck(): void {
    const { phase, rest } = this.#state;
    const [transition, run] = [this.#transition, this.#run];
    if (transition === null || run === null) return;
    this.#parts.log.error({ phase, rest, ...transition }, "a sprite's transition is stuck");
    this.#parts.onStuck(transition);
    if (phase === "starting") {
      // Undone. Whoever waits for it starts it anew, or has waited long enough.
      this.stop("it did not come up").catch(() => undefined);
      return;
    }
    // One that stops is finished by it; one that falls asleep or wakes gets another agent, which lets it go on.
    run.process.killAgent();
  }
}

function heldTooLong(transition: SpriteTransition | null): SpriteError {
  const what = transition === null ? "serves" : `is ${transition.to}`;
  return new SpriteError("unavailable", `the sprite takes too long until it ${what}; try again`, {
    details: { retry_after_seconds: heldRetrySeconds },
  });
}

/** What a request gets that reaches a sprite which is being destroyed. */
export function goneError(): SpriteError {
  return new SpriteError("not_found", "sprite not found");
}
