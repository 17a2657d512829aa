import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { constants } from "node:os";
import { ReadStream } from "node:tty";
import { Readable } from "node:stream";

import type { TerminalSize } from "../process.ts";

/**
 * The native half of node-pty. Its JavaScript half destroys the stream 200 ms after the exit,
 * whatever is still unread, so reading is done here.
 */
interface NativeTerminal {
  fork(
    file: string,
    args: string[],
    environment: string[],
    directory: string,
    columns: number,
    rows: number,
    uid: number,
    gid: number,
    utf8: boolean,
    helperPath: string,
    onExit: (code: number, signal: number) => void,
  ): { fd: number; pid: number; pty: string };
  resize(fd: number, columns: number, rows: number): void;
}

const load = createRequire(import.meta.url);
let loaded: NativeTerminal | null = null;

/** Loaded at the first use: most sprites are never given a terminal. */
function native(): NativeTerminal {
  if (loaded === null) {
    const binaries = load("@lydell/node-pty/requireBinary.js") as {
      requireBinary: (file: string) => NativeTerminal;
    };
    loaded = binaries.requireBinary("pty.node");
  }
  return loaded;
}

const keepOwner = -1;

/**
 * Runs a program and leaves its exit code in a file, since only a parent is told of it, and ours may
 * have died. The hang-up of the terminal is for the program to answer. Arguments: the file, then the
 * program's own.
 */
const leaveExitCode = `trap : HUP; "$@"; code=$?; echo "$code" >"$0"; exit "$code"`;

/** A process on a terminal of its own. */
export class PseudoTerminal {
  /** Raw bytes; ends after the last one. */
  readonly output: Readable;
  readonly exited: Promise<{ code: number; signal: number }>;
  /** The terminal's master. */
  readonly descriptor: number;
  readonly #stream: ReadStream;
  #closed = false;
  #lastReadMs = 0;

  private constructor(
    descriptor: number,
    exitedOf: (end: Promise<void>) => Promise<{ code: number; signal: number }>,
  ) {
    this.descriptor = descriptor;
    this.#stream = new ReadStream(descriptor);
    const ended = new Promise<void>((resolve) => {
      this.#stream.once("close", () => resolve());
    });
    this.exited = exitedOf(ended);
    this.output = this.#readOutput();
  }

  /** Starts a program. The path is that of the terminal's other side, in this machine's /dev/pts. */
  static start(options: {
    file: string;
    args: string[];
    environment: Record<string, string>;
    size: TerminalSize;
    exitCodeFile: string;
  }): { terminal: PseudoTerminal; devicePath: string } {
    const exit = Promise.withResolvers<{ code: number; signal: number }>();
    const { columns, rows } = options.size;
    const environment = Object.entries(options.environment).map(([k, v]) => `${k}=${v}`);
    const { fd, pty } = native().fork(
      "/bin/sh",
      ["-c", leaveExitCode, options.exitCodeFile, options.file, ...options.args],
      environment,
      "/",
      columns,
      rows,
      keepOwner,
      keepOwner,
      false,
      "",
      (code, signal) => exit.resolve({ code, signal }),
    );
    return { terminal: new PseudoTerminal(fd, () => exit.promise), devicePath: pty };
  }

  /** One whose starter has died: the program's end shows as that of its output. */
  static adopt(descriptor: number, exitCodeFile: string): PseudoTerminal {
    return new PseudoTerminal(descriptor, async (ended) => {
      await ended;
      const text = await readFile(exitCodeFile, "latin1").catch(() => "");
      // As if the program that leaves the code had been killed, and perhaps it was.
      if (!/^[0-9]+\n$/.test(text)) return { code: 0, signal: constants.signals.SIGKILL };
      return { code: Number(text), signal: 0 };
    });
  }

  /** When output was last read; with a consumer that holds it back this says nothing. */
  get lastReadMs(): number {
    return this.#lastReadMs;
  }

  write(bytes: Uint8Array, onTaken: () => void): void {
    if (this.#closed) onTaken();
    else this.#stream.write(bytes, onTaken);
  }

  resize(size: TerminalSize): void {
    if (!this.#closed) native().resize(this.descriptor, size.columns, size.rows);
  }

  /** Hangs up: whoever is on the other side gets SIGHUP, and end of input. */
  close(): void {
    this.#closed = true;
    this.#stream.destroy();
  }

  #readOutput(): Readable {
    const stream = this.#stream;
    const output = new Readable({
      read: () => {
        stream.resume();
      },
    });
    stream.on("data", (chunk: Buffer) => {
      this.#lastReadMs = performance.now();
      if (!output.push(chunk)) stream.pause();
    });
    // The kernel says the end with EIO, once all is read and nobody has the other side open.
    stream.on("error", () => undefined);
    stream.once("close", () => {
      this.#closed = true;
      output.push(null);
    });
    return output;
  }
}
