/** The privileged operations of one process, done by a child of it so that none of them can hang it. */
import { spawn, type ChildProcessByStdio } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";

import { must } from "../base/assert.ts";
import { readJsonLines } from "../base/json-lines.ts";
import type { Log } from "../base/log.ts";
import { nodeProcess } from "../base/node-process.ts";
import { waitUntil } from "../base/wait.ts";
import { HostError, plainEnvironment } from "./command.ts";
import type { HelperOperation, HelperReply, HelperValue } from "./helper-protocol.ts";
import {
  diskFlushDeadlineMs,
  diskReadDeadlineMs,
  freezeTimeMsMax,
  helperCloseMsMax,
  helperIdleMsMax,
  helperLineBytesMax,
  helperStartMsMax,
  operationDeadlineMs,
} from "./limits.ts";

export type { MountFlag } from "./helper-protocol.ts";

const program = fileURLToPath(new URL("./host-helper-process.ts", import.meta.url));

export interface HostHelper {
  /** Starts the child ahead of its first operation. */
  start(): void;
  /**
   * One operation; past its deadline the child is killed, left behind, and the next operation gets
   * a new one.
   * @throws HostError
   */
  run(operation: HelperOperation, options?: { deadlineMs?: number }): Promise<void>;
  /** Keeps the device from clearing itself until `releaseLoop`: call that once the device is mounted. */
  attachLoop(options: {
    backingFile: string;
    readOnly: boolean;
    /** The default; a backing file on tmpfs needs false. */
    directIo?: boolean;
  }): Promise<string>;
  releaseLoop(device: string): Promise<void>;
  /** Nothing reaches the device until `thaw`, or for at most half a second. */
  freeze(directory: string, options?: { deadlineMs?: number }): Promise<void>;
  /** True when the file system was still frozen: then nothing was written since `freeze`. */
  thaw(directory: string): Promise<boolean>;
  /** Ends the child. File systems thaw, and loop devices that nothing mounted are gone. */
  close(): Promise<void>;
}

type HelperChild = ChildProcessByStdio<Writable, Readable, Readable>;

interface Pending {
  resolve(value: HelperValue): void;
  reject(error: HostError): void;
}

/** The child inherits this process's mount and network namespaces as they are when it starts. */
export function createHostHelper(log: Log, options: { idleMsMax?: number } = {}): HostHelper {
  return new ChildHostHelper(log, options.idleMsMax ?? helperIdleMsMax);
}

class ChildHostHelper implements HostHelper {
  readonly #log: Log;
  readonly #idleMsMax: number;
  /** File systems that stay frozen if the child dies now. */
  readonly #frozen = new Set<string>();
  readonly #loops = new Set<string>();
  #process: HelperProcess | null = null;
  #last: Promise<unknown> = Promise.resolve();
  #idle: NodeJS.Timeout | null = null;
  #closed = false;

  constructor(log: Log, idleMsMax: number) {
    this.#log = log;
    this.#idleMsMax = idleMsMax;
  }

  start(): void {
    this.#running();
  }

  async run(operation: HelperOperation, options: { deadlineMs?: number } = {}): Promise<void> {
    await this.#ask(operation, options.deadlineMs ?? deadlineMsOf(operation));
  }

  async attachLoop(options: {
    backingFile: string;
    readOnly: boolean;
    directIo?: boolean;
  }): Promise<string> {
    const operation = { type: "loop_attach", directIo: true, ...options } as const;
    const device = must(await this.#ask(operation, operationDeadlineMs), "a device has a path");
    this.#loops.add(device);
    this.#arrangeIdle();
    return device;
  }

  async releaseLoop(device: string): Promise<void> {
    this.#loops.delete(device);
    await this.#ask({ type: "loop_release", device }, operationDeadlineMs);
  }

  async freeze(directory: string, options: { deadlineMs?: number } = {}): Promise<void> {
    const operation = { type: "freeze", directory, timeMsMax: freezeTimeMsMax } as const;
    this.#frozen.add(directory);
    try {
      await this.#ask(operation, options.deadlineMs ?? deadlineMsOf(operation));
    } catch (error) {
      // It may have frozen in the same moment, and whoever keeps it from staying so is gone.
      if (error instanceof HostError && error.code === "deadline_exceeded") {
        await this.thaw(directory);
      }
      this.#frozen.delete(directory);
      throw error;
    }
  }

  async thaw(directory: string): Promise<boolean> {
    const answer = await this.#ask({ type: "thaw", directory }, operationDeadlineMs);
    this.#frozen.delete(directory);
    return answer !== null;
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#idle !== null) clearTimeout(this.#idle);
    const running = this.#process;
    this.#process = null;
    await running?.close();
  }

  /** In turn, so that an operation's time begins when the one before has ended. A thaw waits for nobody. */
  #ask(operation: HelperOperation, deadlineMs: number): Promise<HelperValue> {
    if (operation.type === "thaw") return this.#askNow(operation, deadlineMs);
    const answer = this.#last.then(() => this.#askNow(operation, deadlineMs));
    this.#last = answer.catch(() => {});
    return answer;
  }

  async #askNow(operation: HelperOperation, deadlineMs: number): Promise<HelperValue> {
    const running = this.#running();
    try {
      return await running.ask(operation, deadlineMs);
    } catch (error) {
      if (error instanceof HostError && error.code === "deadline_exceeded") {
        this.#log.error({ operation: operation.type, deadlineMs }, "host helper stalled");
        running.abandon();
      }
      throw error;
    } finally {
      this.#arrangeIdle();
    }
  }

  /** A child costs as much memory as an agent: it stays only as long as it is used or holds something. */
  #arrangeIdle(): void {
    if (this.#idle !== null) clearTimeout(this.#idle);
    this.#idle = null;
    if (this.#closed || this.#process === null) return;
    this.#idle = setTimeout(() => {
      const running = this.#process;
      if (running === null || running.busy || this.#loops.size > 0 || this.#frozen.size > 0) return;
      this.#process = null;
      void running.close();
    }, this.#idleMsMax);
    this.#idle.unref();
  }

  #onChildEnd(ended: HelperProcess): void {
    // One that was closed or replaced held nothing.
    if (ended !== this.#process || this.#closed) return;
    // A loop device that the child held and nobody mounted has cleared itself.
    this.#loops.clear();
    for (const directory of this.#frozen) {
      this.thaw(directory).catch((error: unknown) => {
        this.#log.fatal({ error, directory }, "a file system may stay frozen");
      });
    }
  }

  #running(): HelperProcess {
    if (this.#closed) {
      throw new HostError("aborted", "the host helper is closed", { command: "host helper" });
    }
    if (this.#process === null || this.#process.ended) {
      this.#process = new HelperProcess(this.#log, (ended) => this.#onChildEnd(ended));
      this.#arrangeIdle();
    }
    return this.#process;
  }
}

/** What touches a disk takes as long as the disk does. A freeze does not: it holds up the guest. */
const diskReads: ReadonlySet<string> = new Set<HelperOperation["type"]>([
  "mount",
  "overlay_mount",
  "ensure_directories",
  "make_directory",
]);
const diskFlushes: ReadonlySet<string> = new Set<HelperOperation["type"]>([
  "sync_file_system",
  "unmount",
]);

function deadlineMsOf(operation: HelperOperation): number {
  if (diskFlushes.has(operation.type)) return diskFlushDeadlineMs;
  return diskReads.has(operation.type) ? diskReadDeadlineMs : operationDeadlineMs;
}

/** One child; after a stall it is replaced. */
class HelperProcess {
  readonly #child: HelperChild;
  readonly #log: Log;
  readonly #onEnd: (ended: HelperProcess) => void;
  readonly #pending = new Map<number, Pending>();
  #nextId = 1;
  #answered = false;
  #exited = false;
  ended = false;

  constructor(log: Log, onEnd: (ended: HelperProcess) => void) {
    this.#log = log;
    this.#onEnd = onEnd;
    // A session of its own: a signal to the server's whole group must not end the one that has to
    // thaw a file system.
    const { file, args, environment } = nodeProcess(program);
    this.#child = spawn(file, args, {
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...plainEnvironment, ...environment },
      detached: true,
    });
    this.#child.on("error", (error) => this.#end(`cannot start: ${error.message}`));
    this.#child.on("exit", (code, signal) => {
      this.#exited = true;
      this.#end(`ended with ${code ?? signal}`);
    });
    this.#child.stdin.on("error", () => this.#end("closed its standard input"));
    this.#child.stderr.on("data", (bytes: Buffer) => {
      log.error({ output: bytes.toString("utf8").slice(0, 2000) }, "host helper complained");
    });
    readJsonLines(this.#child.stdout, {
      lineBytesMax: helperLineBytesMax,
      onValue: (value) => this.#onReply(value as HelperReply),
      onOther: (line) => log.error({ line }, "host helper wrote something else than a reply"),
    });
  }

  get busy(): boolean {
    return this.#pending.size > 0;
  }

  ask(operation: HelperOperation, deadlineMs: number): Promise<HelperValue> {
    const id = this.#nextId++;
    // Only the first answer has to wait for the program to load.
    const timeMs = deadlineMs + (this.#answered ? 0 : helperStartMsMax);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pending.delete(id);
        const message = `${operation.type} did not end within ${deadlineMs} ms`;
        reject(new HostError("deadline_exceeded", message, { command: operation.type }));
      }, timeMs);
      this.#pending.set(id, {
        resolve: (value) => {
          clearTimeout(timer);
          resolve(value);
        },
        reject: (error) => {
          clearTimeout(timer);
          reject(error);
        },
      });
      this.#child.stdin.write(`${JSON.stringify({ id, operation })}\n`);
    });
  }

  /** Leaves the child behind: it may hang in the kernel, where no signal reaches it. */
  abandon(): void {
    this.#end("was abandoned");
    this.#child.kill("SIGKILL");
    this.#child.stdin.destroy();
    this.#child.stdout.destroy();
    this.#child.stderr.destroy();
    this.#child.unref();
  }

  async close(): Promise<void> {
    this.#child.stdin.end();
    const gone = await waitUntil(() => this.#exited, {
      timeoutMs: helperCloseMsMax,
      intervalMs: 1,
    });
    if (!gone) this.abandon();
  }

  #onReply(reply: HelperReply): void {
    this.#answered = true;
    const pending = this.#pending.get(reply.id);
    this.#pending.delete(reply.id);
    if (reply.ok) {
      pending?.resolve(reply.value);
      return;
    }
    const { call, errno, message } = reply;
    pending?.reject(new HostError("system_call", message, { command: call, errno }));
  }

  #end(reason: string): void {
    if (this.ended) return;
    this.ended = true;
    const waiting = [...this.#pending.values()];
    this.#pending.clear();
    if (waiting.length > 0) this.#log.error({ reason }, "host helper ended during an operation");
    for (const pending of waiting) {
      pending.reject(
        new HostError("aborted", `the host helper ${reason}`, { command: "host helper" }),
      );
    }
    this.#onEnd(this);
  }
}
