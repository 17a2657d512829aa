import { rmSync } from "node:fs";
import type { Log } from "../base/log.ts";
import { withDeadline } from "../base/wait.ts";
import type { AgentCommand, AgentStatus, PassedDescriptor } from "../contract/agent-startup.ts";
import { SpriteError } from "../contract/errors.ts";
import { fuseMountsOf } from "../host/fuse-connections.ts";
import { startWithNiceness } from "../host/niceness.ts";
import type { AdoptedChild } from "./adopted-child.ts";
import { rememberChild } from "./child-records.ts";
import { passOnLog } from "./child-log.ts";
import type { KeptDescriptors } from "./kept-descriptors.ts";
import { SpawnedChild, type ChildMounts } from "./spawned-child.ts";

export interface SupervisedOptions {
  /** The module that the child runs. */
  modulePath: string;
  /** The first line that the child reads from its stdin, given what is passed to it. */
  startup: (descriptors: readonly PassedDescriptor[]) => unknown;
  /** All of them are passed to the child, which may have more of its own kept here. */
  kept: KeptDescriptors;
  /** Where the child's identity is kept while it runs, for the server that comes after a killed one. */
  identityFile: string;
  mounts: ChildMounts;
  /** Where it mounts what it serves by FUSE, before it says that it is ready. */
  servedDirectory: string;
  startTimeoutMs: number;
  /** One that was spawned ahead, with what is kept for it. */
  prepared?: SpawnedChild;
  /** Its nice value; absent: ours. */
  niceness?: number;
  /** Told when an agent has suspended its sprite's processes, or let them go on. */
  onRest?: (rest: Extract<AgentStatus, { type: "rest" }>) => void;
  /** Told what an agent's sprite has used. */
  onUsage?: (report: unknown) => void;
  log: Log;
}

/** What there is to a child of this server's, or of the one before. */
export interface ChildLink {
  readonly pid: number | undefined;
  /** Settles when the process is gone, however it ended; both null when that cannot be known. */
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  /** False from the moment that the process has ended. */
  readonly alive: boolean;
  /** Calls back with everything that it says. */
  listen(onStatus: (value: unknown) => void, onOther: (line: string) => void): void;
  send(line: unknown): void;
  kill(): void;
}

/**
 * A child of ours that speaks the control pipe's protocol (contract/agent-startup.ts): an agent, or
 * an image server. Given one of the server before, it goes on with that.
 */
export class SupervisedProcess {
  /** Settles when the process is gone, however it ended. */
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  readonly #child: ChildLink;
  readonly #options: SupervisedOptions;
  readonly #ready: Promise<Extract<AgentStatus, { type: "ready" }>>;
  #synced = false;
  #refused = false;

  constructor(options: SupervisedOptions, adopted: AdoptedChild | null = null) {
    this.#options = options;
    const child = adopted ?? options.prepared ?? new SpawnedChild(options);
    if (child instanceof SpawnedChild) child.begin(options.startup);
    this.#child = child;
    this.exited = child.exited.finally(() => rmSync(options.identityFile, { force: true }));
    if (adopted === null && options.niceness !== undefined) {
      startWithNiceness(this.pid, options.niceness);
    }
    passOnLog(options.kept);
    this.#ready = this.#watchStatus(adopted);
    this.#ready.catch(() => undefined);
    if (adopted === null) rememberChild(options.identityFile, { pid: child.pid });
    else child.send({ type: "adopt" } satisfies AgentCommand);
  }

  /**
   * The child's own word that it serves.
   * @throws SpriteError start_failed, or the code that the child gave
   */
  async ready(): Promise<Extract<AgentStatus, { type: "ready" }>> {
    const { startTimeoutMs } = this.#options;
    try {
      return await withDeadline(this.#ready, {
        timeoutMs: startTimeoutMs,
        onTimeout: () => {
          this.#refused = true;
          return new SpriteError("start_failed", `not ready within ${startTimeoutMs} ms`);
        },
      });
    } catch (error) {
      this.kill();
      throw error;
    }
  }

  /**
   * Asks the child to end, waits, and kills it past the deadline. True when it said that all it had
   * is in the bucket.
   */
  async stop(options: { discard: boolean; timeoutMs: number }): Promise<boolean> {
    const command: AgentCommand = { type: "stop", discard: options.discard };
    this.#child.send(command);
    const timer = setTimeout(() => {
      this.#options.log.error({ pid: this.#child.pid }, "did not stop in time: killed");
      this.kill();
    }, options.timeoutMs);
    await this.exited;
    clearTimeout(timer);
    return this.#synced;
  }

  /** 0 when it could not even be started. */
  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** True when it said that all it had is in the bucket. */
  get synced(): boolean {
    return this.#synced;
  }

  /** True when it said why it does not serve, or took too long: trying the same again is no use. */
  get refused(): boolean {
    return this.#refused;
  }

  /** False from the moment that the process has ended, which is before `exited` can tell. */
  get alive(): boolean {
    return this.#child.alive;
  }

  kill(): void {
    this.#child.kill();
  }

  /** For a server that finds the connection hanging, when this one and the child have ended. */
  async #rememberConnection(): Promise<void> {
    const { identityFile, servedDirectory } = this.#options;
    const connection = (await fuseMountsOf(this.pid)).get(servedDirectory);
    if (connection !== undefined && this.alive) {
      rememberChild(identityFile, { pid: this.pid, connection });
    }
  }

  #watchStatus(adopted: AdoptedChild | null): Promise<Extract<AgentStatus, { type: "ready" }>> {
    const { log, kept } = this.#options;
    return new Promise((resolve, reject) => {
      const onStatus = (value: unknown): void => {
        const status = value as AgentStatus;
        if (status.type === "keep") {
          kept.copy(status.key, { pid: this.pid, descriptor: status.descriptor });
        }
        if (status.type === "release") kept.release(status.key);
        if (status.type === "ready") {
          resolve(status);
          void this.#rememberConnection();
        }
        if (status.type === "rest") this.#options.onRest?.(status);
        if (status.type === "usage") this.#options.onUsage?.(status.report);
        if (status.type === "stopped") this.#synced = status.synced;
        if (status.type === "failed") {
          this.#refused = true;
          const code = status.code === "disk_full" ? "disk_full" : "start_failed";
          reject(new SpriteError(code, status.message));
        }
      };
      if (adopted !== null) {
        resolve({ type: "ready", socketPath: adopted.offer.socketPath, bootMs: 0 });
      }
      this.#child.listen(onStatus, (line) => log.warn({ line }, "unexpected output of a child"));
      void this.exited.then(({ code, signal }) => {
        const how = signal === null ? `with code ${code}` : `by ${signal}`;
        reject(new SpriteError("start_failed", `the process ended ${how} before it was ready`));
      });
    });
  }
}
