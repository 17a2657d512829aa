import { closeSync, existsSync, readFileSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";

import type { Log } from "../../base/log.ts";
import { waitUntil, withDeadline } from "../../base/wait.ts";
import { SpriteError } from "../../contract/errors.ts";
import { plainEnvironment, runCommand } from "../../host/command.ts";
import type { Command, TerminalProcess, TerminalSize } from "../process.ts";
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
  runDirectory: string;
  log: Log;
}

/**
 * A process inside the container, on a terminal of its own, that waits to be told what to become.
 */
export class Zygote {
  readonly #parts: ZygoteParts;
  readonly #slot: number;
  readonly #terminal: PseudoTerminal;
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
    this.#terminal = new PseudoTerminal({
      file: entry.file,
      args: entry.executeArguments("zygote", slot, { terminal: true, pidFile: this.#pidFile }),
      environment: plainEnvironment,
      size: defaultSize,
    });
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
      await runCommand("stty", ["-F", zygote.#terminal.devicePath, "-opost"], {
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
      process = new RuntimeTerminalProcess({
        pid: started.pid,
        hostPid: this.#hostPid,
        executable: executableCandidates(command)[started.index] ?? null,
        terminal: this.#terminal,
        groups,
      });
      return process;
    } finally {
      if (process === null) this.stop();
      else this.#forget();
    }
  }

  stop(): void {
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
