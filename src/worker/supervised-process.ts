import { spawn, type ChildProcess, type SpawnOptions } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { readJsonLines } from "../base/json-lines.ts";
import type { Log } from "../base/log.ts";
import { nodeProcess } from "../base/node-process.ts";
import { identifyProcess, type ProcessIdentity } from "../base/process-identity.ts";
import { withDeadline } from "../base/wait.ts";
import type { AgentCommand, AgentStatus, PassedDescriptor } from "../contract/agent-startup.ts";
import { SpriteError } from "../contract/errors.ts";
import { fuseMountsOf } from "../host/fuse-connections.ts";
import { setThreadNiceness } from "../host/niceness.ts";
import type { KeptDescriptors } from "./kept-descriptors.ts";
import { lineBytesMax } from "./limits.ts";

/** The one the child was given its first descriptor as; standard streams come before. */
const firstPassedDescriptor = 3;

/** Which mounts the child sees: ours, a copy of ours, or those of the namespace behind a path. */
export type ChildMounts = "ours" | "copy" | { of: string };

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
  /** Its nice value; absent: ours. */
  niceness?: number;
  /** Told when an agent has suspended its sprite's processes, or let them go on. */
  onRest?: (rest: Extract<AgentStatus, { type: "rest" }>) => void;
  log: Log;
}

/**
 * A child of ours that speaks the control pipe's protocol (contract/agent-startup.ts): an agent, or
 * an image server.
 */
export class SupervisedProcess {
  /** Settles when the process is gone, however it ended. */
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  readonly #child: ChildProcess;
  readonly #options: SupervisedOptions;
  readonly #ready: Promise<Extract<AgentStatus, { type: "ready" }>>;
  #synced = false;
  #refused = false;

  constructor(options: SupervisedOptions) {
    this.#options = options;
    const kept = options.kept.list();
    this.#child = spawnChild(options, kept);
    const child = this.#child;
    if (options.niceness !== undefined) setThreadNiceness(this.pid, options.niceness);
    this.exited = new Promise((resolve) => {
      child.once("close", (code, signal) => {
        rmSync(options.identityFile, { force: true });
        resolve({ code, signal });
      });
      child.once("error", () => resolve({ code: null, signal: null }));
    });
    this.#ready = this.#watchStatus();
    this.#ready.catch(() => undefined);
    child.stdin?.on("error", () => undefined);
    const passed = kept.map(({ key }, index) => ({
      key,
      descriptor: firstPassedDescriptor + index,
    }));
    child.stdin?.write(`${JSON.stringify(options.startup(passed))}\n`);
    rememberIdentity(options.identityFile, { pid: child.pid });
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
    this.#child.stdin?.write(`${JSON.stringify(command)}\n`);
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
    const { pid, exitCode, signalCode } = this.#child;
    if (pid === undefined || exitCode !== null || signalCode !== null) return false;
    return identifyProcess(pid) !== null;
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }

  /** For a server that finds the connection hanging, when this one and the child have ended. */
  async #rememberConnection(): Promise<void> {
    const { identityFile, servedDirectory } = this.#options;
    const connection = (await fuseMountsOf(this.pid)).get(servedDirectory);
    if (connection !== undefined && this.alive) {
      rememberIdentity(identityFile, { pid: this.pid, connection });
    }
  }

  #watchStatus(): Promise<Extract<AgentStatus, { type: "ready" }>> {
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
        if (status.type === "stopped") this.#synced = status.synced;
        if (status.type === "failed") {
          this.#refused = true;
          const code = status.code === "disk_full" ? "disk_full" : "start_failed";
          reject(new SpriteError(code, status.message));
        }
      };
      const { stdout, stderr } = this.#child;
      if (stdout !== null) {
        readJsonLines(stdout, {
          lineBytesMax,
          onValue: onStatus,
          onOther: (line) => log.warn({ line }, "unexpected output of a child"),
        });
      }
      // A child logs the same structured lines as we do; they are passed on as they are.
      stderr?.pipe(process.stderr, { end: false });
      void this.exited.then(({ code, signal }) => {
        const how = signal === null ? `with code ${code}` : `by ${signal}`;
        reject(new SpriteError("start_failed", `the process ended ${how} before it was ready`));
      });
    });
  }
}

function spawnChild(options: SupervisedOptions, passed: readonly PassedDescriptor[]): ChildProcess {
  const { file, args, environment } = nodeProcess(options.modulePath);
  // A session of its own, so that a terminal's Ctrl+C reaches only the server, which then stops its
  // children in order.
  const common: SpawnOptions = {
    stdio: ["pipe", "pipe", "pipe", ...passed.map(({ descriptor }) => descriptor)],
    detached: true,
    env: { ...process.env, ...environment },
  };
  const { mounts } = options;
  if (mounts === "ours") return spawn(file, args, common);
  // unshare(1) and nsenter(1) replace themselves by the child, so the child keeps the process id
  // that we see.
  if (mounts === "copy") {
    const unshareArguments = ["--mount", "--propagation", "private", "--", file];
    return spawn("unshare", [...unshareArguments, ...args], common);
  }
  return spawn("nsenter", [`--mount=${mounts.of}`, "--", file, ...args], common);
}

/** What a server writes down about a child, for the one that comes after it. */
export interface ChildRecord extends ProcessIdentity {
  /** The FUSE connection that it serves, once it is ready. */
  connection?: number;
}

function rememberIdentity(
  file: string,
  child: { pid: number | undefined; connection?: number },
): void {
  const identity = child.pid === undefined ? null : identifyProcess(child.pid);
  if (identity === null) return;
  const { connection } = child;
  const record: ChildRecord = { ...identity, ...(connection === undefined ? {} : { connection }) };
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, JSON.stringify(record));
}
