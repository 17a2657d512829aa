import type { Readable } from "node:stream";

import { identifyProcess, isAlive } from "../../base/process-identity.ts";
import type { ExitStatus, TerminalProcess, TerminalSize } from "../process.ts";
import { terminalHeldGraceMs, terminalPollMs } from "./limits.ts";
import type { ProcessGroups } from "./process-groups.ts";
import type { PseudoTerminal } from "./pseudo-terminal.ts";

/** A command on a terminal, behind the runtime that relays it. */
export class RuntimeTerminalProcess implements TerminalProcess {
  readonly pid: number;
  readonly executable: string | null;
  readonly exited: Promise<ExitStatus>;
  readonly output: Readable;
  readonly #terminal: PseudoTerminal;
  readonly #groups: ProcessGroups;
  #ended = false;

  constructor(parts: {
    pid: number;
    hostPid: number;
    executable: string | null;
    terminal: PseudoTerminal;
    groups: ProcessGroups;
  }) {
    this.pid = parts.pid;
    this.executable = parts.executable;
    this.output = parts.terminal.output;
    this.#terminal = parts.terminal;
    this.#groups = parts.groups;
    const poll = closeWhenHeldByOthers(parts.terminal, parts.hostPid);
    this.exited = parts.terminal.exited.then(({ code, signal }) => {
      this.#ended = true;
      clearInterval(poll);
      // The runtime's exit code is the command's; a runtime that was killed itself knows nothing.
      if (signal === 0) return { kind: "exited", code: code & 0xff };
      return { kind: "lost", reason: "the runtime that watched the command was killed" };
    });
  }

  write(bytes: Uint8Array, onTaken: () => void = () => {}): void {
    if (this.#ended) onTaken();
    else this.#terminal.write(bytes, onTaken);
  }

  resize(size: TerminalSize): void {
    if (!this.#ended) this.#terminal.resize(size);
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
