import { createRequire } from "node:module";
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

/** A child process of ours on a terminal of its own. */
export class PseudoTerminal {
  readonly pid: number;
  /** The other side of the terminal, in this machine's /dev/pts. */
  readonly devicePath: string;
  /** Raw bytes; ends after the last one. */
  readonly output: Readable;
  readonly exited: Promise<{ code: number; signal: number }>;
  readonly #fd: number;
  readonly #stream: ReadStream;
  #closed = false;
  #lastReadMs = 0;

  constructor(options: {
    file: string;
    args: string[];
    environment: Record<string, string>;
    size: TerminalSize;
  }) {
    const exit = Promise.withResolvers<{ code: number; signal: number }>();
    const { columns, rows } = options.size;
    const environment = Object.entries(options.environment).map(([k, v]) => `${k}=${v}`);
    const { fd, pid, pty } = native().fork(
      options.file,
      options.args,
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
    this.pid = pid;
    this.devicePath = pty;
    this.exited = exit.promise;
    this.#fd = fd;
    this.#stream = new ReadStream(fd);
    this.output = this.#readOutput();
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
    if (!this.#closed) native().resize(this.#fd, size.columns, size.rows);
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
