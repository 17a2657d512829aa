import { closeSync, openSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Log } from "../base/log.ts";
import type { AgentStartup } from "../contract/agent-startup.ts";
import { SpriteError } from "../contract/errors.ts";
import { withExpeditedGracePeriods } from "../host/expedited-grace-periods.ts";
import { thawCgroup } from "../host/cgroup-freezer.ts";
import { setNiceness } from "../host/niceness.ts";
import { deleteContainer } from "../host/runtime.ts";
import { containerId } from "../sandbox/container-id.ts";
import type { AdoptedChild } from "./adopted-child.ts";
import { AgentPace, type NextAgent } from "./agent-pace.ts";
import type { DiskTenure } from "./disk-tenure.ts";
import { KeptDescriptors } from "./kept-descriptors.ts";
import type { Rest } from "./lifecycle/life-state.ts";
import { goneError, type LifeProcess } from "./lifecycle/sprite-life.ts";
import {
  agentStartTimeoutMs,
  agentStopTimeoutMs,
  agentTakeoverTimeoutMs,
  commandTimeoutMs,
} from "./limits.ts";
import { nicenessWhileMade } from "./pool/limits.ts";
import { agentModule, SpawnedChild } from "./spawned-child.ts";
import type { PreparedAgent } from "./starts/prepared-agents.ts";
import { SupervisedProcess, type SupervisedOptions } from "./supervised-process.ts";

/** All of an agent's configuration but what differs from one agent of a sprite to the next. */
export type SpriteStartup = Omit<AgentStartup, "descriptors" | "takesOver" | "isStillOurs">;

export interface SpriteProcessOptions {
  /** An agent that the server before has left running, and what it was started with. */
  adopted?: { child: AdoptedChild; startup: SpriteStartup };
  makeStartup: () => Promise<SpriteStartup>;
  /** The process of an agent that has loaded its code ahead; null when there is none. */
  takePrepared: (imageDirectory: string) => PreparedAgent | null;
  /** Waits until it may start; what it gives is called when it has, or has not. */
  takeTurn: (signal: AbortSignal) => Promise<() => void>;
  identityFile: string;
  tenure: DiskTenure;
  /** While this holds it is nobody's: it has to wait for others, and one whose agent has died is given up. */
  isSpare: () => boolean;
  log: Log;
  /** Called whenever its processes are suspended, or go on. */
  onRest: (rest: Rest, because: string) => void;
  onUsage: (report: unknown) => void;
  /** Called once, when nothing of the sprite runs any more, however it ended. */
  onEnded: () => void;
}

const removal = { recursive: true, force: true, maxRetries: 10, retryDelay: 10 } as const;

/** From a start from nothing until nothing is left: what outlives each agent of that time. */
interface Life {
  startup: SpriteStartup;
  kept: KeptDescriptors;
  /** The namespace with all mounts of the sprite, open here; null before an agent was ready. */
  mounts: number | null;
}

type Readiness = PromiseWithResolvers<{ socketPath: string }>;

/**
 * One running sprite: its agent, the next one when that dies, and the clearing up in the end.
 *
 * What an agent holds alive by being there is kept here too: the descriptor its disk is served on,
 * its mount namespace, its container's lifeline. So when it dies, the guest only waits, and an agent
 * that comes after it takes it over. When this process dies the agent is alone with it, until the next
 * server adopts the agent and has copies of its own.
 */
export class SpriteProcess implements LifeProcess {
  /** Settles when nothing of the sprite runs any more. Never rejects. */
  readonly ended: Promise<void>;
  readonly #options: SpriteProcessOptions;
  readonly #pace = new AgentPace();
  /** Of the agent there is now, or of the one that is to follow. */
  #readiness: Readiness = newReadiness();
  #child: SupervisedProcess | null = null;
  #stopAsked = false;
  /** Whoever stops it wants nothing of it stored. */
  #discards = false;
  readonly #stopping = new AbortController();
  #isOver = false;

  constructor(options: SpriteProcessOptions) {
    this.#options = options;
    this.ended = this.#run();
  }

  /** True when no request can be served by it any more. */
  get ending(): boolean {
    return this.#stopAsked || this.#isOver;
  }

  /** Ends the agent at once; another takes its place unless the sprite is stopping. */
  killAgent(): void {
    this.#child?.kill();
  }

  /** While an agent is being replaced, that takes a moment. @throws SpriteError start_failed, disk_full */
  async ready(): Promise<{ socketPath: string }> {
    for (;;) {
      const answer = await this.#readiness.promise;
      const child = this.#child;
      if (child === null || child.alive) return answer;
      // Nobody has noticed yet that it has died.
      await child.exited;
    }
  }

  /** It is made, and from now on gets the processor as others do. */
  endMaking(cgroupPath: string): void {
    const pid = this.#child?.pid ?? 0;
    if (pid > 0) setNiceness({ pid, cgroupPath }, 0);
  }

  /** Ends the sprite's processes; its disk is stored unless it is to be discarded. */
  async stop(options: { discard: boolean }): Promise<void> {
    this.#stopAsked = true;
    this.#discards ||= options.discard;
    this.#stopping.abort(goneError());
    this.#options.tenure.onStopAsked();
    const synced = await this.#stopChild();
    await this.ended;
    if (synced === false && !options.discard) {
      // They are on this machine's disk, and the next start stores them.
      this.#options.log.warn("the sprite's last changes are not in the bucket yet");
    }
  }

  /** Undefined when there is none yet. */
  async #stopChild(): Promise<boolean | undefined> {
    const timeoutMs = agentStopTimeoutMs;
    return await this.#child?.stop({ discard: this.#discards, timeoutMs });
  }

  async #run(): Promise<void> {
    let failure: unknown = new SpriteError("unavailable", "the sprite has stopped; try again");
    let { adopted } = this.#options;
    try {
      while ((await this.#runOnce(adopted)) === "start_anew") adopted = undefined;
    } catch (error) {
      failure = error;
    }
    this.#isOver = true;
    this.#readiness.reject(failure);
    this.#options.onEnded();
  }

  /**
   * From a start from nothing until nothing is left. @throws SpriteError why an agent does not start
   */
  async #runOnce(adopted: SpriteProcessOptions["adopted"]): Promise<NextAgent> {
    if (adopted !== undefined) return await this.#runInTurn(adopted);
    const leave = await this.#options.takeTurn(this.#stopping.signal);
    this.#readiness.promise.then(leave, leave);
    return await this.#runInTurn(undefined).finally(leave);
  }

  async #runInTurn(adopted: SpriteProcessOptions["adopted"]): Promise<NextAgent> {
    const startup = adopted?.startup ?? (await this.#options.makeStartup());
    if (this.#stopAsked && adopted === undefined) throw goneError();
    await mkdir(startup.runDirectory, { recursive: true, mode: 0o711 });
    const prepared =
      adopted === undefined ? this.#options.takePrepared(startup.imageDirectory) : null;
    const life: Life = { startup, kept: prepared?.kept ?? new KeptDescriptors(), mounts: null };
    try {
      if (adopted !== undefined) keepOf(life, adopted.child);
      else if (prepared === null) life.kept.openFuseDevice();
      const end = await this.#runAgents(life, adopted?.child ?? prepared?.child ?? null);
      if (end.wasStopped) return "give_up";
      // Whoever waits for the disk gets errors from now on, and so can be ended.
      letGo(life);
      await this.#clearUp(startup);
      if (end.next === "give_up" && end.failure !== null) throw end.failure;
      return end.next;
    } finally {
      letGo(life);
      await this.#removeRunDirectory(startup);
    }
  }

  /** One agent after the other, on the same disk and container, for as long as that goes well. */
  async #runAgents(
    life: Life,
    first: AdoptedChild | SpawnedChild | null,
  ): Promise<{
    wasStopped: boolean;
    next: NextAgent;
    failure: Error | null;
  }> {
    for (let [takesOver, child] = [false, first]; ; [takesOver, child] = [true, null]) {
      // Settings may have changed since the last one was told.
      if (takesOver) life.startup = await this.#options.makeStartup();
      const isPrepared = child instanceof SpawnedChild;
      if (this.#stopAsked && (child === null || isPrepared)) {
        child?.kill();
        return { wasStopped: false, next: "give_up", failure: null };
      }
      const end = await this.#runAgent(life, takesOver, child);
      const { how, livedMs, failure, refused, isStored } = end;
      // Also when somebody else has told it to stop, as a machine does that shuts down.
      if (this.#stopAsked || (how.code === 0 && isStored)) {
        return { wasStopped: how.code === 0, next: "give_up", failure };
      }
      let next = this.#pace.next(livedMs);
      // What keeps an agent from serving at all is for whoever asked for it to hear.
      if (refused && !takesOver) next = "give_up";
      if (this.#options.isSpare()) next = "give_up";
      if (next === "take_over" && (refused || life.mounts === null)) next = "start_anew";
      this.#options.log.error({ ...how, next }, "the agent ended unexpectedly");
      if (next !== "take_over") return { wasStopped: false, next, failure };
    }
  }

  async #runAgent(
    life: Life,
    takesOver: boolean,
    given: AdoptedChild | SpawnedChild | null,
  ): Promise<{
    how: { code: number | null; signal: NodeJS.Signals | null };
    /** Since it was ready; null when it never was. */
    livedMs: number | null;
    /** Why it never was. */
    failure: Error | null;
    refused: boolean;
    /** It stopped in order, and all that it had is in the bucket. */
    isStored: boolean;
  }> {
    const { startup, kept, mounts } = life;
    const [adopted, prepared] = given instanceof SpawnedChild ? [null, given] : [given, undefined];
    const { identityFile, log, tenure } = this.#options;
    // A guest that runs goes on with what it has, as it would if its agent lived.
    const isStillOurs = takesOver || adopted !== null || tenure.isStillOurs();
    const options: SupervisedOptions = {
      modulePath: agentModule,
      ...(prepared === undefined ? {} : { prepared }),
      startup: (descriptors): AgentStartup => ({ ...startup, descriptors, takesOver, isStillOurs }),
      kept,
      identityFile,
      servedDirectory: join(startup.runDirectory, "fuse"),
      mounts: mounts === null ? "copy" : { of: `/proc/${process.pid}/fd/${mounts}` },
      startTimeoutMs: takesOver ? agentTakeoverTimeoutMs : agentStartTimeoutMs,
      ...(this.#options.isSpare() ? { niceness: nicenessWhileMade } : {}),
      onRest: ({ rest, because }) => this.#options.onRest(rest, because),
      onUsage: (report) => this.#options.onUsage(report),
      log,
    };
    log.debug({ isPrepared: prepared !== undefined, takesOver }, "an agent begins");
    const child = new SupervisedProcess(options, adopted);
    this.#child = child;
    // Of one that is adopted: nobody could tell it before.
    if (this.#stopAsked) void this.#stopChild();
    let readyAtMs: number | null = null;
    let failure: Error | null = null;
    void withExpeditedGracePeriods(() => child.ready()).then(
      ({ socketPath }) => {
        readyAtMs = performance.now();
        if (!isStillOurs) tenure.onOpened();
        life.mounts ??= openMounts(child.pid);
        // The one before may have died while the sprite was suspended.
        if (adopted === null) this.#options.onRest("awake", "its agent was replaced");
        this.#readiness.resolve({ socketPath });
      },
      (error: Error) => (failure = error),
    );
    const how = await child.exited;
    tenure.onAgentEnded({ isStored: child.synced, isExplained: child.refused });
    // Before anybody else can look: who comes from now on waits for the next agent.
    if (readyAtMs !== null) this.#readiness = newReadiness();
    const livedMs = readyAtMs === null ? null : performance.now() - readyAtMs;
    return { how, livedMs, failure, refused: child.refused, isStored: child.synced };
  }

  /** A child that a killed agent left may still be writing there, for a moment. */
  async #removeRunDirectory(startup: SpriteStartup): Promise<void> {
    try {
      await rm(startup.runDirectory, removal);
    } catch (error) {
      // The sprite can start in what is left; the server's next start removes it.
      const { spriteId } = startup;
      this.#options.log.error({ err: error, spriteId }, "could not remove the run directory");
    }
  }

  /** An agent that died leaves its container; without its disk it can only fail, so it goes too. */
  async #clearUp(startup: SpriteStartup): Promise<void> {
    const { log } = this.#options;
    try {
      // With version 1 of cgroups a suspended process does not end when it is killed.
      await thawCgroup(startup.cgroupPath);
      await deleteContainer({
        runtime: startup.runtime,
        root: startup.runtimeRoot,
        containerId: containerId(startup.spriteId),
        deadlineMs: commandTimeoutMs,
      });
    } catch (error) {
      log.error({ err: error, spriteId: startup.spriteId }, "could not remove the container");
    }
  }
}

/** Null when the process has ended in just that moment: then nothing can be taken over from it. */
function openMounts(pid: number): number | null {
  try {
    return openSync(`/proc/${pid}/ns/mnt`, "r");
  } catch {
    return null;
  }
}

/** What an agent of the server before holds alive is from now on kept here too. */
function keepOf(life: Life, { pid, offer }: AdoptedChild): void {
  for (const { key, descriptor } of offer.descriptors) life.kept.copy(key, { pid, descriptor });
  life.mounts = openMounts(pid);
}

/** With the agents gone, this ends the FUSE connection and all mounts. */
function letGo(life: Life): void {
  life.kept.closeAll();
  if (life.mounts !== null) closeSync(life.mounts);
  life.mounts = null;
}

function newReadiness(): Readiness {
  const readiness = Promise.withResolvers<{ socketPath: string }>();
  // It may be that nobody waits.
  readiness.promise.catch(() => undefined);
  return readiness;
}
