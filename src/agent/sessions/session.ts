import { assert } from "../../base/assert.ts";
import type { OutputStream, SessionInfo } from "../../contract/exec-frames.ts";
import type { PortNotice } from "../../contract/ports.ts";
import type { Command, ExitStatus, TerminalSize } from "../../sandbox/process.ts";
import type { SessionPorts } from "../ports/session-ports.ts";
import {
  activityWindowMs,
  clientQueueBytesMax,
  endGraceMs,
  noticeLagBytesMax,
  observerLagBytesMax,
} from "./limits.ts";
import { drainOutput } from "./output-drain.ts";
import { RateMeter } from "./rate-meter.ts";
import { Scrollback } from "./scrollback.ts";
import type { Attachment, SessionClient, SessionEnd } from "./session-client.ts";
import type { SessionProcess } from "./session-process.ts";

export interface SessionOptions {
  command: Pick<Command, "argv" | "path" | "directory">;
  /** The terminal's size at the start; null without a terminal. */
  terminal: TerminalSize | null;
  /** How long the command may run without any client; null for ever. */
  runAfterDisconnectMs: number | null;
  /** Tells of the ports that the command opens; without it, nobody does. */
  ports?: SessionPorts;
  /** When the command was started, ms since the epoch; without it, now. */
  createdMs?: number;
}

export interface SessionSummary {
  id: string;
  command: string;
  workdir: string;
  createdMs: number;
  bytesPerSecond: number;
  isActive: boolean;
  lastActivityMs: number;
  tty: boolean;
}

interface Member extends Attachment {
  readonly client: SessionClient;
  inputEnded: boolean;
}

/**
 * One command and whoever watches it. The owner, or without one the client that is attached
 * longest, sets the pace: the command is held back while that client has too much waiting. Other
 * clients are dropped when they fall too far behind.
 */
export class Session {
  readonly id: string;
  readonly createdMs: number;
  /** Settles when the process has ended, before its last output is read. */
  readonly exited: Promise<ExitStatus>;
  /** Settles once every client has been told. */
  readonly ended: Promise<SessionEnd>;
  readonly #process: SessionProcess;
  readonly #options: SessionOptions;
  readonly #now: () => number;
  readonly #scrollback = new Scrollback<OutputStream>();
  readonly #rate = new RateMeter();
  readonly #members = new Set<Member>();
  readonly #end = Promise.withResolvers<SessionEnd>();
  #size: TerminalSize;
  #lastActivityMs: number;
  #lastOutputMs = 0;
  #heldBack = false;
  #hasExited = false;
  #isOver = false;
  #disconnectTimer: NodeJS.Timeout | null = null;

  constructor(process: SessionProcess, options: SessionOptions, now: () => number = Date.now) {
    this.id = String(process.pid);
    this.#process = process;
    this.#options = options;
    this.#now = now;
    this.createdMs = options.createdMs ?? now();
    this.#lastActivityMs = now();
    this.#size = options.terminal ?? { columns: 0, rows: 0 };
    this.exited = process.exited;
    this.ended = this.#end.promise;
  }

  get tty(): boolean {
    return this.#options.terminal !== null;
  }

  /** Its process id may belong to another command by now. */
  get hasExited(): boolean {
    return this.#hasExited;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** The executable where it was found, and the arguments. */
  get commandText(): string {
    const { argv, path } = this.#options.command;
    return [this.#process.executable ?? argv[0] ?? path, ...argv.slice(1)].join(" ");
  }

  info(isOwner: boolean): SessionInfo {
    return {
      type: "session_info",
      session_id: this.id,
      command: this.commandText,
      created: Math.floor(this.createdMs / 1000),
      cols: this.#size.columns,
      rows: this.#size.rows,
      is_owner: isOwner,
      tty: this.tty,
    };
  }

  summary(): SessionSummary {
    const nowMs = this.#now();
    return {
      id: this.id,
      command: this.commandText,
      workdir: this.#options.command.directory,
      createdMs: this.createdMs,
      bytesPerSecond: this.#rate.bytesPerSecond(nowMs),
      isActive: this.#members.size > 0 || nowMs - this.#lastActivityMs < activityWindowMs,
      lastActivityMs: this.#lastActivityMs,
      tty: this.tty,
    };
  }

  /** Begins to read; to be called once, after the first client was told of the session. */
  run(): void {
    for (const { stream, source } of this.#process.outputs) {
      source.on("data", (bytes: Buffer) => this.#onOutput(stream, bytes));
    }
    this.#updateDisconnectTimer();
    void this.#finish();
  }

  /** Shows the client what is kept of the past, and then everything that comes. */
  attach(client: SessionClient, options: { isOwner: boolean }): Attachment {
    assert(!this.#isOver, "a session that is over takes no clients");
    const member: Member = {
      client,
      isOwner: options.isOwner,
      inputEnded: false,
      drained: () => this.#pace(),
      write: (bytes, onTaken) => this.#write(member, bytes, onTaken),
      endInput: () => this.#endInput(member),
      detach: () => this.#detach(member),
    };
    for (const { tag, bytes } of this.#scrollback.read()) client.sendOutput(tag, bytes);
    const { ports } = this.#options;
    for (const notice of ports?.portsOf(this) ?? []) client.sendNotice(JSON.stringify(notice));
    this.#members.add(member);
    if (this.#members.size === 1) ports?.add(this);
    this.#updateDisconnectTimer();
    return member;
  }

  resize(size: TerminalSize): void {
    if (!this.tty) return;
    this.#size = size;
    this.#process.resize(size);
  }

  /** Reaches the whole process group. */
  signal(signal: NodeJS.Signals): void {
    this.#lastActivityMs = this.#now();
    this.#process.kill(signal);
  }

  /**
   * Tells every client of something that is neither output nor the end. Nothing holds a guest back that
   * opens and closes ports all the time, so a client that does not read even that is dropped.
   */
  notice(notice: PortNotice): void {
    const text = JSON.stringify(notice);
    for (const member of [...this.#members]) {
      member.client.sendNotice(text);
      if (member.client.queuedBytes > noticeLagBytesMax) {
        this.#detach(member);
        member.client.sendEnd({ kind: "too_slow", reason: "too far behind the notices" });
      }
    }
  }

  /** Lets the command go the way of one whose clients have all left for good. */
  async abandon(): Promise<void> {
    this.#process.kill(this.tty ? "SIGHUP" : "SIGTERM");
    const timer = setTimeout(() => this.#process.kill("SIGKILL"), endGraceMs);
    await this.exited;
    clearTimeout(timer);
  }

  /** Tells every client that the sprite goes away. The process is left to its container's end. */
  stop(reason: string): void {
    this.#conclude({ kind: "stopped", reason });
  }

  #onOutput(stream: OutputStream, bytes: Buffer): void {
    if (this.#isOver) return;
    const nowMs = this.#now();
    this.#lastActivityMs = nowMs;
    this.#lastOutputMs = performance.now();
    this.#rate.add(bytes.length, nowMs);
    this.#scrollback.append(stream, bytes);
    this.#options.ports?.hint();
    const leader = this.#leader();
    for (const member of this.#members) {
      member.client.sendOutput(stream, bytes);
      if (member !== leader && member.client.queuedBytes > observerLagBytesMax) {
        this.#forget(member);
        member.client.sendEnd({ kind: "too_slow", reason: "too far behind the output" });
      }
    }
    this.#pace();
  }

  /** The client whose pace the command keeps. */
  #leader(): Member | undefined {
    const members = [...this.#members];
    return members.find((member) => member.isOwner) ?? members[0];
  }

  #pace(): void {
    const holdBack = (this.#leader()?.client.queuedBytes ?? 0) > clientQueueBytesMax;
    if (holdBack === this.#heldBack) return;
    this.#heldBack = holdBack;
    for (const { source } of this.#process.outputs) {
      if (holdBack) source.pause();
      else source.resume();
    }
  }

  #write(member: Member, bytes: Uint8Array, onTaken: () => void): void {
    if (member.inputEnded || this.#isOver) {
      onTaken();
      return;
    }
    const nowMs = this.#now();
    this.#lastActivityMs = nowMs;
    this.#rate.add(bytes.length, nowMs);
    this.#process.write(bytes, onTaken);
  }

  /** An attached client's end of input is its own: the command belongs to whoever started it. */
  #endInput(member: Member): void {
    if (member.inputEnded) return;
    member.inputEnded = true;
    if (member.isOwner) this.#process.endInput();
  }

  #forget(member: Member): boolean {
    const wasHere = this.#members.delete(member);
    if (wasHere && this.#members.size === 0) this.#options.ports?.remove(this);
    return wasHere;
  }

  #detach(member: Member): void {
    if (!this.#forget(member)) return;
    this.#pace();
    this.#updateDisconnectTimer();
  }

  #updateDisconnectTimer(): void {
    if (this.#disconnectTimer !== null) clearTimeout(this.#disconnectTimer);
    this.#disconnectTimer = null;
    const { runAfterDisconnectMs } = this.#options;
    if (this.#members.size > 0 || this.#isOver || runAfterDisconnectMs === null) return;
    this.#disconnectTimer = setTimeout(() => void this.abandon(), runAfterDisconnectMs);
  }

  async #finish(): Promise<void> {
    const status = await this.#process.exited;
    this.#hasExited = true;
    if (this.#disconnectTimer !== null) clearTimeout(this.#disconnectTimer);
    await drainOutput({
      sources: this.#process.outputs.map(({ source }) => source),
      isHeldBack: () => this.#heldBack,
      lastOutputMs: () => this.#lastOutputMs,
    });
    this.#process.endInput();
    this.#conclude(status);
  }

  #conclude(end: SessionEnd): void {
    if (this.#isOver) return;
    this.#isOver = true;
    if (this.#disconnectTimer !== null) clearTimeout(this.#disconnectTimer);
    for (const { client } of this.#members) client.sendEnd(end);
    this.#members.clear();
    this.#options.ports?.remove(this);
    this.#scrollback.clear();
    for (const { source } of this.#process.outputs) source.destroy();
    this.#end.resolve(end);
  }
}
