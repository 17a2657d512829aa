/** Sleep of one sprite: what holds it awake, and the nap that follows when nothing does. */
import { setTimeout as delay } from "node:timers/promises";
import type { Log } from "../../base/log.ts";
import type { ActivityItem, ActivityObject } from "../../contract/activity.ts";
import { SpriteError } from "../../contract/errors.ts";
import { formatOptionalTimestamp, formatTimestamp } from "../../contract/timestamp.ts";
import type { Sandbox } from "../../sandbox/sandbox.ts";
import type { Sessions } from "../sessions/sessions.ts";
import type { WakeHolder } from "../wake-holds.ts";
import { Activity, type ActivitySource } from "./activity.ts";
import { diskCounter } from "./disk-counter.ts";
import {
  forcedSleepWaitMsMax,
  retireMs,
  shownItemsMax,
  sleepLookMs,
  sleepWaitMsMax,
  standByLookMs,
} from "./limits.ts";
import { Nap, type NapStep } from "./nap.ts";
import { RequestMeter } from "./request-meter.ts";
import { sessionSource } from "./session-source.ts";
import { WorkMeter } from "./work-meter.ts";

export interface RestParts {
  /** Nothing for so long, and the sprite is suspended; null: never. */
  windowMs: number | null;
  sandbox: () => Sandbox | null;
  sessions: () => Sessions;
  tasks: WakeHolder;
  /** Further sources of other rooms. */
  sources: () => readonly ActivitySource[];
  /** Where the sprite's disk is mounted. */
  diskDirectory: string;
  /** Told of each step of falling asleep and waking, before it takes its time and after. */
  onStep: (step: NapStep, because: string) => void;
  log: Log;
}

export class Rest {
  /** Every request goes through here. */
  readonly requests: RequestMeter;
  readonly #activity: Activity;
  readonly #nap: Nap;
  /** It is nobody's yet, and sleeps as soon as nothing goes on. */
  #isStandingBy = false;
  #isBeginning = false;

  constructor(parts: RestParts) {
    const { windowMs, sandbox, log } = parts;
    this.requests = new RequestMeter({
      wake: (because) => this.wake(because),
      touch: () => this.#activity.touch(),
    });
    const work = new WorkMeter({
      processorMs: () => sandbox()?.processorTimeMs() ?? null,
      sentBytes: () => sandbox()?.network?.sentBytes() ?? null,
      diskBytes: diskCounter(parts.diskDirectory),
    });
    this.#activity = new Activity({
      windowMs,
      sources: [
        this.requests,
        sessionSource(() => parts.sessions().list()),
        taskSource(parts.tasks),
        work,
        { look: (nowMs) => parts.sources().flatMap((source) => source.look(nowMs)) },
      ],
      onIdle: () => void this.#nap.fallAsleep("nothing went on"),
    });
    this.#nap = new Nap({
      freeze: async () => await sandbox()?.pause(),
      thaw: async () => await sandbox()?.resume(),
      isIdle: () => this.#isStandingBy || this.#activity.isIdle(),
      onStep: (step, because) => {
        if (step === "frozen") log.info({ because }, "suspended");
        if (step === "awake") log.info({ because }, "goes on");
        parts.onStep(step, because);
      },
      log,
    });
  }

  start(): void {
    this.#activity.start();
  }

  /** From now on, whatever it was before; null: nothing suspends it. */
  setWindow(windowMs: number | null): void {
    this.#activity.setWindow(windowMs);
  }

  /** Instead of `start`, for a sprite that is nobody's yet: it is suspended when it has come to rest. */
  standBy(): void {
    this.#isStandingBy = true;
    void this.#comeToRest();
  }

  async #comeToRest(): Promise<void> {
    let wasQuiet = false;
    while (this.#isStandingBy && !this.#nap.isAsleep) {
      const isQuiet = this.#activity.held().length === 0;
      if (wasQuiet && isQuiet) await this.#nap.fallAsleep("it stands by");
      wasQuiet = isQuiet;
      await delay(standByLookMs, undefined, { ref: false });
    }
  }

  /** It wakes for its first time, which is no news to whoever asked for that. */
  get isBeginning(): boolean {
    return this.#isBeginning;
  }

  /** It stands by no longer. Settles when the processes run. */
  async beginLife(because: string): Promise<void> {
    this.#isStandingBy = false;
    this.#isBeginning = true;
    try {
      await this.wake(because);
    } finally {
      this.#isBeginning = false;
    }
    // That was before anybody had it.
    this.#nap.forget();
    this.#activity.start();
  }

  /** Settles when the processes run. */
  async wake(because: string): Promise<void> {
    this.#activity.touch();
    await this.#nap.wake(because);
  }

  /** Settles when the processes run, for work that is no reason to wake them. */
  async whenAwake(): Promise<void> {
    await this.#nap.whenAwake();
  }

  /** It sleeps no more: its container is about to end. */
  async end(): Promise<void> {
    this.#isStandingBy = false;
    this.#activity.stop();
    await this.#nap.end("it is stopping");
  }

  /**
   * Settles when the sprite is ready to be ended: it sleeps, and nobody asked for it in the last moment.
   * @throws SpriteError busy
   */
  async retire(): Promise<void> {
    const sinceMs = this.#activity.idleSinceMs();
    // Whoever was on the way here when the worker stopped letting others in arrives meanwhile.
    await delay(retireMs);
    const isQuiet = sinceMs !== null && this.#activity.idleSinceMs() === sinceMs;
    if (isQuiet && !this.requests.isDiskHeld && this.#nap.isAsleep) return;
    throw new SpriteError("busy", "the sprite is needed");
  }

  /**
   * Settles when requests under way have ended, or have had their time: the sprite is about to be put to sleep.
   * @throws SpriteError busy: a command or a task holds it, and nobody insists
   */
  async prepareSleep({ isForced }: { isForced: boolean }): Promise<void> {
    const startMs = performance.now();
    const waitMsMax = isForced ? forcedSleepWaitMsMax : sleepWaitMsMax;
    // Whoever was on the way here when the worker stopped letting others in arrives meanwhile.
    await delay(retireMs);
    for (;;) {
      const held = this.#activity.held();
      const holders = held.filter(({ kind }) => kind === "command" || kind === "task");
      if (!isForced && holders.length > 0) throw heldError(holders);
      const isAnswering = held.some(({ kind }) => kind === "request");
      if (!isAnswering || performance.now() - startMs >= waitMsMax) return;
      await delay(sleepLookMs);
    }
  }

  show(): ActivityObject {
    const held = this.#activity.held();
    const idleSinceMs = this.#activity.idleSinceMs();
    const { windowMs } = this.#activity;
    const { slept, woke, isAsleep, transition } = this.#nap;
    const sleepsAtMs =
      isAsleep || idleSinceMs === null || windowMs === null ? null : idleSinceMs + windowMs;
    return {
      status: isAsleep ? "warm" : "running",
      awake_because: held.slice(0, shownItemsMax).map(({ kind, name, sinceMs }) => ({
        ...{ kind, name },
        since: formatTimestamp(sinceMs),
      })),
      idle_since: formatOptionalTimestamp(idleSinceMs),
      idle_window_seconds: windowMs === null ? null : windowMs / 1_000,
      sleeps_at: formatOptionalTimestamp(sleepsAtMs),
      slept_at: formatOptionalTimestamp(slept?.atMs ?? null),
      slept_because: slept?.because ?? null,
      woke_at: formatOptionalTimestamp(woke?.atMs ?? null),
      woke_because: woke?.because ?? null,
      transition:
        transition === null
          ? null
          : { to: transition.to, since: formatTimestamp(transition.sinceMs) },
    };
  }
}

function heldError(holders: readonly ActivityItem[]): SpriteError {
  const held = holders.slice(0, shownItemsMax).map(({ kind, name }) => ({ kind, name }));
  const [first] = held;
  const more = holders.length > 1 ? ` and ${holders.length - 1} more` : "";
  const message = `held awake by ${first?.kind} ${first?.name}${more}; it ends only by force`;
  return new SpriteError("busy", message, { details: { held_by: held } });
}

function taskSource(tasks: WakeHolder): ActivitySource {
  return {
    look: () => tasks.wakeHolds().map(({ kind, name }): ActivityItem => ({ kind, name })),
  };
}
