import type { Readable } from "node:stream";

import { identifyProcess, isAlive } from "../../base/process-identity.ts";
import type { ExitStatus, ProcessRecord, TerminalProcess, TerminalSize } from "../process.ts";
import { resizeRelayMs, terminalHeldGraceMs, terminalPollMs } from "./limits.ts";
import type { ProcessGroups } from "./process-groups.ts";
import type { PseudoTerminal } from "./pseudo-terminal.ts";

/** A command on a terminal, behind the runtime that relays it. */
export class RuntimeTerminalProcess implements TerminalProcess {
  readonly record: ProcessRecord;
  readonly exited: Promise<ExitStatus>;
  readonly output: Readable;
  readonly #terminal: PseudoTerminal;
  readonly #groups: ProcessGroups;
  #ended = false;
  /** When the last change of size has surely reached the command. */
  #resizedAtMs = -Infinity;
  /** Input that waits for a change of size that came before it. */
  readonly #heldInput: Array<{ dueMs: number; send: () => void }> = [];
  #heldTimer: NodeJS.Timeout | null = null;

  constructor(parts: {
    record: ProcessRecord;
    terminal: PseudoTerminal;
    groups: ProcessGroups;
    /** Called once it has ended. */
    onEnded: () => void;
  }) {
    this.record = parts.record;
    this.output = parts.terminal.output;
    this.#terminal = parts.terminal;
    this.#groups = parts.groups;
    const poll = closeWhenHeldByOthers(parts.terminal, parts.record.hostPid);
    this.exited = parts.terminal.exited.then(({ code, signal }) => {
      this.#ended = true;
      clearInterval(poll);
      parts.onEnded();
      // The runtime's exit code is the command's; a runtime that was killed itself knows nothing.
      if (signal === 0) return { kind: "exited", code: code & 0xff };
      return { kind: "lost", reason: "the runtime that watched the command was killed" };
    });
  }

  get pid(): number {
    return this.record.pid;
  }

  get executable(): string | null {
    return this.record.executable;
  }

  write(bytes: Uint8Array, onTaken: () => void = () => {}): void {
    const send = (): void => {
      if (this.#ended) onTaken();
      else this.#terminal.write(bytes, onTaken);
    };
    const dueMs = this.#resizedAtMs + resizeRelayMs;
    if (this.#heldInput.length === 0 && performance.now() >= dueMs) {
      send();
      return;
    }
    this.#heldInput.push({ dueMs, send });
    this.#scheduleHeld();
  }

  /**
   * The runtime passes a new size on when it gets round to a signal, but input at once: input that was sent after the resize
   * is held for a moment, so that the command does not read it on a terminal of the old size.
   */
  resize(size: TerminalSize): void {
    if (this.#ended) return;
    this.#terminal.resize(size);
    this.#resizedAtMs = performance.now();
  }

  #scheduleHeld(): void {
    const next = this.#heldInput[0];
    if (next === undefined || this.#heldTimer !== null) return;
    const waitMs = Math.max(0, Math.ceil(next.dueMs - performance.now()));
    this.#heldTimer = setTimeout(() => {
      this.#heldTimer = null;
      this.#heldInput.shift()?.send();
      this.#scheduleHeld();
    }, waitMs);
  }

  kill(signal: NodeJS.Signals): void {
    if (this.#ended) return;
    this.#groups.signal(this.pid, signal);
  }
}

/**
 * The runtime exits only when nobody has the terminal open any more, which a program left in the
 * background may put off for ever. Once the command is gone and all that was written has been read,
 * hanging up makes it exit, with the command's code.
 */
function closeWhenHeldByOthers(terminal: PseudoTerminal, hostPid: number): NodeJS.Timeout {
  const process = identifyProcess(hostPid);
  let goneAtMs: number | null = null;
  const timer = setInterval(() => {
    if (process !== null && isAlive(process)) return;
    const nowMs = performance.now();
    goneAtMs ??= nowMs;
    const isHeldBack = terminal.output.readableLength > 0;
    const quietSinceMs = Math.max(goneAtMs, terminal.lastReadMs);
    if (!isHeldBack && nowMs - quietSinceMs > terminalHeldGraceMs) {
      clearInterval(timer);
      terminal.close();
    }
  }, terminalPollMs);
  return timer.unref();
}
