import { closeSync, existsSync, readFileSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";

import type { DescriptorKeeper } from "../../base/descriptor-keeper.ts";
import type { Log } from "../../base/log.ts";
import { waitUntil, withDeadline } from "../../base/wait.ts";
import { SpriteError } from "../../contract/errors.ts";
import { plainEnvironment, runCommand } from "../../host/command.ts";
import type { Command, ProcessRecord, TerminalProcess, TerminalSize } from "../process.ts";
import type { FifoDirectory } from "./fifo-directory.ts";
import { launchTimeoutMs, runtimeCallTimeoutMs, zygoteStartTimeoutMs } from "./limits.ts";
import type { ProcessGroups } from "./process-groups.ts";
import { PseudoTerminal } from "./pseudo-terminal.ts";
import type { ContainerEntry } from "./container-entry.ts";
import { executableCandidates, terminalStartFile } from "./shell-text.ts";
import { readStatusLines, type StatusLine } from "./status-lines.ts";
import { RuntimeTerminalProcess } from "./terminal-process.ts";

const defaultSize: TerminalSize = { columns: 80, rows: 24 };

export interface ZygoteParts {
  entry: ContainerEntry;
  fifos: FifoDirectory;
  groups: ProcessGroups;
  keeper: DescriptorKeeper;
  runDirectory: string;
  log: Log;
}

/**
 * Goes on with a command on a terminal whose agent has died; null when it has ended, or its terminal
 * could not be kept.
 */
export function adoptTerminal(
  record: ProcessRecord,
  parts: Pick<ZygoteParts, "groups" | "keeper" | "runDirectory">,
): TerminalProcess | null {
  const descriptor = parts.keeper.take(terminalKey(record.slot));
  if (descriptor === null) return null;
  return new RuntimeTerminalProcess({
    record,
    terminal: PseudoTerminal.adopt(descriptor, exitCodeFile(parts, record.slot)),
    groups: parts.groups,
    onEnded: () => forgetTerminal(parts, record.slot),
  });
}

/** Its name among the kept descriptors: a terminal hangs up with its last master. */
function terminalKey(slot: number): string {
  return `terminal-${slot}`;
}

function exitCodeFile(parts: Pick<ZygoteParts, "runDirectory">, slot: number): string {
  return join(parts.runDirectory, `zygote-${slot}.code`);
}

function forgetTerminal(parts: Pick<ZygoteParts, "keeper" | "runDirectory">, slot: number): void {
  parts.keeper.release(terminalKey(slot));
  rmSync(exitCodeFile(parts, slot), { force: true });
}

/**
 * A process inside the container, on a terminal of its own, that waits to be told what to become.
 */
export class Zygote {
  readonly #parts: ZygoteParts;
  readonly #slot: number;
  readonly #terminal: PseudoTerminal;
  readonly #devicePath: string;
  readonly #goFd: number;
  readonly #status: { close: () => void };
  readonly #ready = Promise.withResolvers<void>();
  /** Null when the process ended before it had become a command, which it then never will. */
  readonly #started = Promise.withResolvers<{ pid: number; index: number } | null>();
  #hostPid = 0;
  #gone = false;
  #forgotten = false;

  private constructor(parts: ZygoteParts, slot: number) {
    this.#parts = parts;
    this.#slot = slot;
    const { entry, fifos } = parts;
    // Held open at both ends, so that the line waits inside until it is read.
    this.#goFd = fifos.openHolder(slot, "go");
    this.#status = readStatusLines(fifos.openReader(slot, "status"), {
      onLine: (line) => this.#onStatus(line),
      onEnd: () => this.#fail("the terminal's process ended at once"),
    });
    this.#ready.promise.catch(() => undefined);
    const { terminal, devicePath } = PseudoTerminal.start({
      file: entry.file,
      args: entry.executeArguments("zygote", slot, { terminal: true, pidFile: this.#pidFile }),
      environment: plainEnvironment,
      size: defaultSize,
      exitCodeFile: exitCodeFile(parts, slot),
    });
    this.#terminal = terminal;
    this.#devicePath = devicePath;
    void this.#terminal.exited.then(() => this.#endStatus());
  }

  /** @throws SpriteError unavailable */
  static async start(parts: ZygoteParts): Promise<Zygote> {
    const slot = parts.fifos.nextSlot();
    await parts.fifos.makeFifo(slot, ["go", "status"]);
    const zygote = new Zygote(parts, slot);
    try {
      await withDeadline(zygote.#ready.promise, {
        timeoutMs: zygoteStartTimeoutMs,
        onTimeout: () => new Error("the terminal did not become ready"),
      });
      await zygote.#readHostPid();
      // The runtime translates line ends on the outer terminal; the inner one, which programs
      // control, is to be the only one to.
      await runCommand("stty", ["-F", zygote.#devicePath, "-opost"], {
        deadlineMs: runtimeCallTimeoutMs,
      });
      return zygote;
    } catch (cause) {
      zygote.stop();
      throw new SpriteError("unavailable", "cannot open a terminal in the sprite now", { cause });
    }
  }

  get gone(): boolean {
    return this.#gone;
  }

  /**
   * Becomes the command; null if it was gone before. @throws SpriteError deadline_exceeded,
   * invalid_request
   */
  async become(command: Command, size: TerminalSize): Promise<TerminalProcess | null> {
    const { fifos, groups } = this.#parts;
    const startText = terminalStartFile(command, size);
    let process: TerminalProcess | null = null;
    try {
      fifos.writeStart(this.#slot, startText);
      this.#terminal.resize(size);
      writeSync(this.#goFd, `${this.#slot}\n`);
      const started = await withDeadline(this.#started.promise, {
        timeoutMs: launchTimeoutMs,
        onTimeout: () => new SpriteError("deadline_exceeded", "the command did not begin in time"),
      });
      if (started === null) return null;
      const record: ProcessRecord = {
        kind: "terminal",
        slot: this.#slot,
        pid: started.pid,
        executable: executableCandidates(command)[started.index] ?? null,
        hostPid: this.#hostPid,
      };
      this.#parts.keeper.keep(terminalKey(record.slot), this.#terminal.descriptor);
      process = new RuntimeTerminalProcess({
        record,
        terminal: this.#terminal,
        groups,
        onEnded: () => forgetTerminal(this.#parts, record.slot),
      });
      return process;
    } finally {
      if (process === null) this.stop();
      else this.#forget();
    }
  }

  stop(): void {
    forgetTerminal(this.#parts, this.#slot);
    this.#fail("stopped");
    // The hang-up reaches the process inside through the runtime.
    this.#terminal.close();
    this.#forget();
  }

  /** The runtime writes the file when the process inside runs already. */
  async #readHostPid(): Promise<void> {
    await waitUntil(() => existsSync(this.#pidFile), {
      timeoutMs: zygoteStartTimeoutMs,
      intervalMs: 1,
    });
    this.#hostPid = Number(readFileSync(this.#pidFile, "latin1"));
  }

  get #pidFile(): string {
    return join(this.#parts.runDirectory, `zygote-${this.#slot}.pid`);
  }

  /**
   * Gives the status FIFO its end even if nobody inside has opened it; what was written before is
   * read first.
   */
  #endStatus(): void {
    this.#gone = true;
    if (!this.#forgotten) this.#parts.fifos.showEnd(this.#slot, "status");
  }

  #onStatus(line: StatusLine): void {
    if (line.type === "ready") this.#ready.resolve();
    if (line.type === "started") this.#started.resolve(line);
  }

  #fail(reason: string): void {
    this.#gone = true;
    this.#ready.reject(new Error(reason));
    this.#started.resolve(null);
  }

  #forget(): void {
    if (this.#forgotten) return;
    this.#forgotten = true;
    this.#status.close();
    closeSync(this.#goFd);
    this.#parts.fifos.forget(this.#slot, ["go", "status", "start"]);
    rmSync(this.#pidFile, { force: true });
    rmSync(this.#parts.entry.processFile("zygote", this.#slot), { force: true });
  }
}
