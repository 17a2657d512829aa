/** What the agent knows of a command running inside the container. */
import type { Readable, Writable } from "node:stream";

export interface Command {
  /** argv, including argv[0]; never split on spaces. */
  argv: readonly string[];
  /** The executable; looked up on the command's own PATH when it holds no slash. */
  path: string;
  /** The whole environment, in order; later pairs win. */
  environment: ReadonlyArray<readonly [name: string, value: string]>;
  directory: string;
  /** Where to start when the directory cannot be entered; without it, the command then fails. */
  fallbackDirectory?: string;
}

export type ExitStatus =
  | { kind: "exited"; /** 0..255; 128 + n after signal n. */ code: number }
  /** The process is gone and nobody saw how it ended. Never to be reported as 0. */
  | { kind: "lost"; reason: string };

/**
 * All that is needed to go on with a command when the agent that started it has died; plain data, to
 * be kept where that agent's death leaves it.
 */
export interface ProcessRecord {
  kind: "pipes" | "terminal";
  /** Names the command's FIFOs and descriptors. */
  slot: number;
  pid: number;
  executable: string | null;
  /** The host's id of a command on a terminal; 0 for others. */
  hostPid: number;
}

interface RunningCommand {
  readonly record: ProcessRecord;
  /** Process id as seen inside the container. */
  readonly pid: number;
  /** Where the executable was found; null when it was not. */
  readonly executable: string | null;
  /** Settles when the process itself has ended, whoever still holds its pipes. */
  readonly exited: Promise<ExitStatus>;
  /** Signals the command's whole process group. A command that has ended is left alone. */
  kill(signal: NodeJS.Signals): void;
}

/** A command on three pipes. Output streams end when the last holder of the pipe closes it. */
export interface PipeProcess extends RunningCommand {
  /** Null when the command was started with stdin at its end. */
  readonly stdin: Writable | null;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Signals this one process, and not its group. One that has ended is left alone. */
  killOne(signal: NodeJS.Signals): void;
  /**
   * Signals it with its children and theirs, whatever groups they have made for themselves; also when
   * itself has just ended, as long as what it left is still of its session. Others can be named by their
   * ids inside, to be treated likewise. The number of those there were a few milliseconds ago; signal 0 only
   * counts them.
   */
  killAll(signal: NodeJS.Signals | 0, others?: readonly number[]): number;
}

export type AdoptedProcess =
  | { kind: "pipes"; process: PipeProcess }
  | { kind: "terminal"; process: TerminalProcess };

export interface TerminalSize {
  columns: number;
  rows: number;
}

/** A command on a pseudo-terminal; stderr is merged. */
export interface TerminalProcess extends RunningCommand {
  /** Raw bytes from the terminal; ends after the last one. */
  readonly output: Readable;
  /** `onTaken` is called once the terminal has the bytes, or never will. */
  write(bytes: Uint8Array, onTaken?: () => void): void;
  resize(size: TerminalSize): void;
}

export interface Launcher {
  /**
   * Resolves once the command has its process id. A missing executable is not an error here: it
   * writes to stderr and exits 127 or 126.
   */
  launch(command: Command, options: { stdin: boolean }): Promise<PipeProcess>;
  launchTerminal(command: Command, size: TerminalSize): Promise<TerminalProcess>;
}
