import { setTimeout as delay } from "node:timers/promises";

import type { Log } from "../../base/log.ts";
import { settlesWithin, waitUntil } from "../../base/wait.ts";
import { SpriteError } from "../../contract/errors.ts";
import {
  sameDefinition,
  serviceEvent,
  type ServiceDefinition,
  type ServiceEvent,
  type ServiceState,
  type ServiceStatus,
} from "../../contract/service.ts";
import type { AdoptedProcess, Command, PipeProcess, ProcessRecord } from "../../sandbox/process.ts";
import { endOfRun, signalsThatEnd } from "./exit.ts";
import { familyPollMs, killedMsMax, stopMsDefault, strayPollMs } from "./limits.ts";
import { RestartPolicy } from "./restart-policy.ts";
import type { ServiceLog } from "./service-log.ts";
import type { ServiceRecord } from "./service-records.ts";
import { ServiceRun, type RunEnd } from "./service-run.ts";
import { strayProcesses } from "./stray-processes.ts";

/** The container that a service runs in, and never another one. */
export interface ServiceContainer {
  launch(command: Command, options: { stdin: boolean }): Promise<PipeProcess>;
  adoptProcess(record: ProcessRecord): AdoptedProcess | null;
  isListening(port: number): boolean;
}

export interface ServiceParts {
  container: ServiceContainer;
  log: ServiceLog;
  /** Writes down what an agent needs that takes over from this one. */
  record: (record: ServiceRecord) => void;
  /** Settles when the processes inside are not suspended. */
  whenAwake: () => Promise<void>;
  /** What its process is started as. */
  commandOf: (definition: ServiceDefinition) => Command;
  agentLog: Log;
}

export type Follower = (event: ServiceEvent) => void;

/**
 * One service: its process, and what becomes of it when that ends. What is asked of it is done one
 * after the other, so that each asker learns a truthful end.
 */
export class Service {
  definition: ServiceDefinition;
  /** Stopped by somebody: stays so until somebody starts it, whatever is restarted meanwhile. */
  isStopped: boolean;
  /** Nothing may start it any more. */
  isRemoving = false;
  readonly log: ServiceLog;
  /** Settles when nothing more will happen to it: it is deleted, or its container ends. */
  readonly gone: Promise<void>;
  readonly markGone: () => void;
  readonly #parts: ServiceParts;
  readonly #followers = new Set<Follower>();
  readonly #policy = new RestartPolicy();
  #turn: Promise<unknown> = Promise.resolve();
  #status: ServiceStatus = "stopped";
  #run: ServiceRun | null = null;
  #runDefinition: ServiceDefinition | null = null;
  #restartTimer: NodeJS.Timeout | null = null;
  #isEnding = false;
  /** Until when the processes of one that is being stopped may end by themselves, performance.now(). */
  #graceEndsMs = 0;
  #startedAtMs: number | null = null;
  #error = "";
  #restartCount = 0;
  #nextRestartAtMs: number | null = null;
  #exitCode: number | null = null;

  constructor(definition: ServiceDefinition, isStopped: boolean, parts: ServiceParts) {
    this.definition = definition;
    this.isStopped = isStopped;
    this.#parts = parts;
    this.log = parts.log;
    const gone = Promise.withResolvers<void>();
    this.gone = gone.promise;
    this.markGone = gone.resolve;
  }

  get state(): ServiceState {
    return {
      status: this.#status,
      pid: this.#run?.process.pid ?? null,
      startedAtMs: this.#run === null ? null : this.#startedAtMs,
      error: this.#error,
      restartCount: this.#restartCount,
      nextRestartAtMs: this.#nextRestartAtMs,
      exitCode: this.#exitCode,
    };
  }

  /** Has every event from now on told; the returned function takes it back. */
  follow(follower: Follower): () => void {
    this.#followers.add(follower);
    return () => this.#followers.delete(follower);
  }

  /**
   * Has it run as its definition says: one that runs so already goes on. Followers hear what happens;
   * this one too that it runs already. @throws SpriteError conflict
   */
  async start(follower: Follower | null = null): Promise<void> {
    await this.#exclusively(async () => {
      this.#assertStays();
      const runs = this.#runDefinition;
      if (this.#run !== null && runs !== null && sameDefinition(runs, this.definition)) {
        follower?.(serviceEvent.started(this.#run.startedAtMs));
        return;
      }
      await this.#end(stopMsDefault);
      this.#begin();
      await this.#launch();
    });
  }

  /** @throws SpriteError conflict */
  async restart(timeoutMs: number): Promise<void> {
    await this.#exclusively(async () => {
      this.#assertStays();
      await this.#end(timeoutMs);
      this.#begin();
      await this.#launch();
    });
  }

  /** SIGTERM to all of its processes, and after the time SIGKILL. */
  async stop(timeoutMs: number): Promise<void> {
    await this.#exclusively(async () => {
      const wasRunning = this.#run !== null;
      await this.#end(timeoutMs);
      if (!wasRunning) {
        this.#setStopped();
        this.#tell(serviceEvent.stopping(Date.now()));
        this.#tell(serviceEvent.stopped(this.#exitCode ?? -1, Date.now()));
      }
    });
  }

  /** Ends it for good, with its container. */
  async shutDown(timeoutMs: number): Promise<void> {
    this.#isEnding = true;
    await this.#exclusively(() => this.#end(timeoutMs));
    this.markGone();
  }

  /** Signals its process, and not the children of that. @throws SpriteError conflict */
  signal(signal: NodeJS.Signals): void {
    const run = this.#run;
    if (run === null) throw notRunning(this.definition.name);
    if (signalsThatEnd.has(signal)) run.wasSignalled = true;
    run.process.killOne(signal);
  }

  /** Goes on with the process that an agent has left, or as that would have gone on. */
  async adopt(record: ServiceRecord): Promise<void> {
    await this.#exclusively(async () => {
      const { startedAtMs, restartCount, exitCode, error, status } = record;
      this.#restartCount = restartCount;
      this.#startedAtMs = startedAtMs;
      this.#exitCode = exitCode;
      this.#error = error;
      this.isStopped = record.isStopped;
      const found =
        record.process === null ? null : this.#parts.container.adoptProcess(record.process);
      if (found?.kind === "pipes") {
        this.#follow(found.process, startedAtMs ?? Date.now(), record.definition);
        // What it was told last, it may not have done.
        const isSame = sameDefinition(record.definition, this.definition);
        if (isSame && !this.isStopped) return;
        await this.#end(stopMsDefault);
        if (!this.isStopped) await this.#launch();
      } else if (!this.isStopped && (record.process !== null || status !== "stopped")) {
        await this.#launch();
      }
    });
  }

  #assertStays(): void {
    const { name } = this.definition;
    if (this.#isEnding) throw new SpriteError("unavailable", "the sprite's container is stopping");
    if (this.isRemoving) throw new SpriteError("conflict", `service ${name} is being deleted`);
  }

  /** Somebody wants it: what was counted before is over. */
  #begin(): void {
    this.#policy.reset();
    this.#restartCount = 0;
    this.#exitCode = null;
  }

  async #launch(): Promise<void> {
    this.#cancelRestart();
    this.#status = "starting";
    this.#error = "";
    const definition = this.definition;
    let process: PipeProcess;
    try {
      process = await this.#parts.container.launch(this.#parts.commandOf(definition), {
        stdin: false,
      });
    } catch (error) {
      const reason = error instanceof SpriteError ? error.message : "internal error";
      this.#parts.agentLog.warn(
        { err: error, service: definition.name },
        "a service did not start",
      );
      this.#fail(`cannot start: ${reason}`, 0);
      return;
    }
    if (process.executable !== null) {
      this.#follow(process, Date.now(), definition);
      this.#tell(serviceEvent.started(this.#startedAtMs ?? Date.now()));
      return;
    }
    // What it says on stderr is the launcher's word that there is no such program.
    let reason = "";
    const run = this.#newRun(process, Date.now(), (text) => (reason += text));
    const { exitCode } = await run.ended;
    this.#exitCode = exitCode;
    this.#fail(`cannot start: ${reason.replace(/^sprite: /, "").trim()}`, 0);
  }

  #follow(process: PipeProcess, startedAtMs: number, definition: ServiceDefinition): void {
    const run = this.#newRun(process, startedAtMs, () => undefined);
    this.#run = run;
    this.#runDefinition = definition;
    this.#status = "running";
    this.#error = "";
    this.#startedAtMs = startedAtMs;
    this.record();
    void run.ended.then((end) => this.#onEnd(run, end));
  }

  #newRun(process: PipeProcess, startedAtMs: number, onText: (text: string) => void): ServiceRun {
    return new ServiceRun({
      process,
      log: this.log,
      startedAtMs,
      afterExit: (ended) => this.#endFamily(ended),
      onRecord: ({ stream, data, timeMs }) => {
        onText(data);
        this.#tell(serviceEvent.output(stream, data, timeMs));
      },
    });
  }

  /** It has ended by itself, or `#end` sees to the rest. */
  #onEnd(run: ServiceRun, end: RunEnd): void {
    if (this.#run !== run || this.#status === "stopping") return;
    this.#run = null;
    this.#exitCode = end.exitCode;
    const outcome = endOfRun(end.exitCode, { wasSignalled: run.wasSignalled });
    this.#tell(serviceEvent.exit(end.exitCode ?? -1, Date.now()));
    if (outcome.isFailure) this.#crash(outcome.text, end.livedMs);
    else this.#setStopped();
    // What it left behind goes before it is started again, since a restart waits for its turn.
    void this.#exclusively(() => this.#endStrays(run)).catch(() => undefined);
  }

  /** Ends the process if there is one, and tells so. */
  async #end(timeoutMs: number): Promise<void> {
    this.#cancelRestart();
    const run = this.#run;
    if (run === null) return;
    this.#status = "stopping";
    this.#graceEndsMs = performance.now() + timeoutMs;
    this.#tell(serviceEvent.stopping(Date.now()));
    run.process.killAll("SIGTERM", await this.#strays());
    if (!(await settlesWithin(run.process.exited, timeoutMs))) run.process.killAll("SIGKILL");
    const gone = await settlesWithin(run.ended, killedMsMax);
    await this.#endStrays(run);
    if (gone) await run.ended;
    this.#run = null;
    this.#exitCode = run.exitCode ?? null;
    this.#setStopped();
    if (run.exitCode === undefined) this.#error = "its process does not end";
    this.#tell(serviceEvent.stopped(this.#exitCode ?? -1, Date.now()));
  }

  /**
   * Children that outlive their service would hold its port and its pipes. Of one that is being stopped they
   * have its time to end by themselves.
   */
  async #endFamily(process: PipeProcess): Promise<void> {
    if (this.#status === "stopping") {
      const timeoutMs = this.#graceEndsMs - performance.now();
      await waitUntil(() => process.killAll(0) === 0, { timeoutMs, intervalMs: familyPollMs });
    }
    const options = { timeoutMs: killedMsMax, intervalMs: familyPollMs };
    await waitUntil(() => process.killAll("SIGKILL") === 0, options);
  }

  /** Programs that made themselves independent of the one that was started. */
  async #endStrays(run: ServiceRun): Promise<void> {
    const isStopping = this.#status === "stopping";
    for (;;) {
      const strays = await this.#strays();
      if (strays.length === 0) return;
      const isTimeUp = !isStopping || performance.now() >= this.#graceEndsMs;
      if (!isTimeUp) {
        await delay(strayPollMs);
        continue;
      }
      // Gone only when their ports are: a killed process holds them for a moment.
      const options = { timeoutMs: killedMsMax, intervalMs: familyPollMs };
      await waitUntil(() => run.process.killAll("SIGKILL", strays) === 0, options);
      return;
    }
  }

  /** With its container all of them end anyway. */
  async #strays(): Promise<number[]> {
    if (this.#isEnding) return [];
    return await strayProcesses(this.#parts.container, this.definition.name).catch(() => []);
  }

  #crash(text: string, livedMs: number): void {
    this.#status = "failed";
    this.#error = text;
    this.#arrangeRestart(livedMs);
    this.record();
  }

  #fail(text: string, livedMs: number): void {
    this.#tell(serviceEvent.error(text, Date.now()));
    this.#crash(text, livedMs);
  }

  #setStopped(): void {
    this.#status = "stopped";
    this.#error = "";
    this.record();
  }

  #arrangeRestart(livedMs: number): void {
    if (this.#isEnding || this.isRemoving) return;
    const delayMs = this.#policy.delayAfter(livedMs);
    this.#nextRestartAtMs = Date.now() + delayMs;
    const again = async (): Promise<void> => {
      await this.#parts.whenAwake();
      await this.#exclusively(async () => {
        // Somebody may have been quicker.
        if (this.#restartTimer !== timer) return;
        this.#restartCount += 1;
        await this.#launch();
      });
    };
    const timer = setTimeout(() => {
      again().catch((error: unknown) => this.#parts.agentLog.error({ err: error }, "no restart"));
    }, delayMs);
    this.#restartTimer = timer;
  }

  #cancelRestart(): void {
    if (this.#restartTimer !== null) clearTimeout(this.#restartTimer);
    this.#restartTimer = null;
    this.#nextRestartAtMs = null;
  }

  /** Writes down how it is, for an agent that takes over. */
  record(): void {
    this.#parts.record({
      name: this.definition.name,
      status: this.#status,
      startedAtMs: this.#startedAtMs,
      error: this.#error,
      restartCount: this.#restartCount,
      exitCode: this.#exitCode,
      process: this.#run?.process.record ?? null,
      isStopped: this.isStopped,
      definition: this.#runDefinition ?? this.definition,
    });
  }

  #tell(event: ServiceEvent): void {
    for (const follower of [...this.#followers]) follower(event);
  }

  async #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => undefined);
    return await turn;
  }
}

export function notRunning(name: string): SpriteError {
  return new SpriteError("conflict", `service ${name} is not running`);
}
