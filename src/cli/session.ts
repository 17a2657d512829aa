import { execCloseCode } from "../contract/exec-frames.ts";
import type { ApiClient, Query } from "./api-client.ts";
import type { Cli } from "./cli.ts";
import { BrowserRequests } from "./browser-requests.ts";
import { BrokenPipeError, CliError } from "./errors.ts";
import { heldOutputMs } from "./limits.ts";
import { LocalSignals } from "./local-signals.ts";
import { PageQuestions } from "./page-questions.ts";
import { SessionNotes } from "./session-notes.ts";
import { parsePortNotice, SessionPorts } from "./session-ports.ts";
import { SessionSocket, type SessionMode, type SocketEnd } from "./session-socket.ts";
import {
  enterRawMode,
  splitAtDetach,
  TerminalModes,
  terminalSize,
  type TerminalSize,
} from "./terminal.ts";
import { printable } from "./text.ts";

export interface SessionRequest {
  path: string;
  query: Query;
  /** Null when attaching to a session whose kind is not known yet. */
  mode: SessionMode | null;
  /** False leaves the local stdin alone, for whoever reads it next. */
  readsStdin: boolean;
  /** Shown while the sprite wakes. */
  waitText: string;
  /** The sprite's path at the API, for tunnels to ports that open; null forwards none. */
  forwardPath: string | null;
}

export type SessionEnd =
  | { kind: "exited"; exitCode: number }
  | { kind: "detached"; sessionId: string }
  | { kind: "interrupted"; exitCode: number; sessionId: string; isTerminal: boolean };

/** Joins the local stdin, stdout, stderr, signals and terminal to one remote command until it ends. */
export async function runSession(cli: Cli, request: SessionRequest): Promise<SessionEnd> {
  const session = new RunningSession(cli, request);
  try {
    return await session.run(cli.client);
  } finally {
    await session.tearDown();
  }
}

type Finish =
  | { kind: "socket"; end: SocketEnd }
  | { kind: "detached" }
  | { kind: "interrupted"; exitCode: number }
  | { kind: "outputFailed"; error: NodeJS.ErrnoException };

class RunningSession {
  readonly #cli: Cli;
  readonly #request: SessionRequest;
  readonly #modes = new TerminalModes();
  readonly #finished: Promise<Finish>;
  #finish: (finish: Finish) => void = () => {};
  #socket: SessionSocket | undefined;
  #sessionId = "";
  #isTerminal: boolean;
  #isStdinStarted = false;
  #leaveRawMode: (() => void) | undefined;
  #signals: LocalSignals | undefined;
  #lastSize: TerminalSize | undefined;
  readonly #notes: SessionNotes;
  readonly #ports: SessionPorts | undefined;
  readonly #pages: PageQuestions;
  readonly #browserRequests: BrowserRequests;
  #releaseTimer: NodeJS.Timeout | undefined;

  constructor(cli: Cli, request: SessionRequest) {
    this.#cli = cli;
    this.#request = request;
    const { out, err, env, isStdoutTty, isStderrTty } = cli.surroundings;
    this.#notes = new SessionNotes({
      // At a terminal the note belongs where the output is seen.
      write: (text) => (this.#isTerminal && isStdoutTty ? out : err).write(text),
      isTerminal: () => this.#isTerminal,
      mustWait: () => this.#modes.isFullScreen,
      // What reads a pipe gets the command's own bytes and nothing else.
      isSilent: cli.isJson || !isStderrTty,
    });
    const { forwardPath: path } = request;
    const tell = (text: string): void => this.#notes.tell(text);
    if (path !== null) this.#ports = new SessionPorts({ client: cli.client, path, tell });
    this.#pages = new PageQuestions({
      env,
      canAsk: cli.isInteractive,
      ask: (text) => out.write(text),
      tell,
    });
    this.#browserRequests = new BrowserRequests((url) => this.#pages.request(url));
    this.#isTerminal = request.mode === "terminal";
    this.#finished = new Promise((resolve) => {
      this.#finish = resolve;
    });
  }

  async run(client: ApiClient): Promise<SessionEnd> {
    const spinner = this.#cli.spinner(this.#request.waitText);
    this.#watchOutputs();
    try {
      this.#socket = await SessionSocket.open({
        client,
        path: this.#request.path,
        query: this.#request.query,
        mode: this.#request.mode,
        listener: {
          onInfo: ({ sessionId, isTerminal }) => {
            spinner.stop();
            this.#sessionId = sessionId;
            this.#isTerminal = isTerminal;
            if (this.#request.mode === null) this.#pages.ignoreReplay();
            // What is replayed to whoever attaches follows at once and needs the raw terminal.
            this.#takeTerminal();
            // The first frames may come before `open` has returned; then it starts the input.
            if (this.#socket !== undefined) this.#startInput();
          },
          onOutput: (stream, bytes) => {
            spinner.stop();
            this.#onOutput(stream, bytes);
          },
          onMessage: (message) => {
            const notice = parsePortNotice(message);
            if (notice !== null) this.#ports?.take(notice);
          },
          onEnd: (end) => this.#finish({ kind: "socket", end }),
          onSendable: () => process.stdin.resume(),
        },
      });
      this.#signals = new LocalSignals({
        forward: (signal) => this.#socket?.sendSignal(signal),
        giveUp: (exitCode) => this.#finish({ kind: "interrupted", exitCode }),
        isTerminal: () => this.#isTerminal,
      });
      if (this.#request.mode !== null || this.#sessionId !== "") this.#startInput();
      return this.#conclude(await this.#finished);
    } finally {
      spinner.stop();
    }
  }

  /** Gives the terminal, stdin and the connection back, whatever happened. */
  async tearDown(): Promise<void> {
    const { out, err } = this.#cli.surroundings;
    this.#signals?.stop();
    clearTimeout(this.#releaseTimer);
    if (this.#isTerminal) out.write(this.#browserRequests.release());
    this.#leaveRawMode?.();
    await this.#ports?.close();
    process.stdout.off("resize", this.#onResize);
    if (this.#isStdinStarted) process.stdin.destroy();
    const undo = this.#modes.undo;
    if (undo !== "" && this.#cli.surroundings.isStdoutTty) out.write(undo);
    this.#notes.end();
    for (const pipe of [out, err]) {
      pipe.onDrain = null;
      pipe.onFailure = null;
    }
    await Promise.all([out.flush(), err.flush(), this.#socket?.close()]);
  }

  #conclude(finish: Finish): SessionEnd {
    const sessionId = this.#sessionId;
    if (finish.kind === "detached") return { kind: "detached", sessionId };
    if (finish.kind === "interrupted") {
      return { ...finish, sessionId, isTerminal: this.#isTerminal };
    }
    if (finish.kind === "outputFailed") {
      this.#socket?.sendSignal("SIGTERM");
      if (finish.error.code === "EPIPE")
        throw new BrokenPipeError("output", { cause: finish.error });
      throw new CliError(`write the command's output: ${finish.error.message}`, {
        code: "output_error",
        cause: finish.error,
      });
    }
    if (finish.end.kind === "exited") return { kind: "exited", exitCode: finish.end.exitCode };
    throw lostConnection(finish.end, { sessionId, isTerminal: this.#isTerminal });
  }

  #watchOutputs(): void {
    const { out, err } = this.#cli.surroundings;
    for (const pipe of [out, err]) {
      pipe.onDrain = () => {
        if (!out.isFull && !err.isFull) this.#socket?.resume();
      };
    }
    // Only stdout's reader matters: a closed stderr must not end a command that does its work.
    out.onFailure = (error) => this.#finish({ kind: "outputFailed", error });
    err.onFailure = () => {
      if (!out.isFull) this.#socket?.resume();
    };
  }

  #onOutput(stream: "stdout" | "stderr", bytes: Uint8Array): void {
    const pipe = stream === "stdout" ? this.#cli.surroundings.out : this.#cli.surroundings.err;
    if (!this.#isTerminal) pipe.write(bytes);
    else this.#showTerminalOutput(bytes);
    if (pipe.isFull) this.#socket?.pause();
  }

  #showTerminalOutput(bytes: Uint8Array): void {
    const { out } = this.#cli.surroundings;
    this.#modes.observe(bytes);
    clearTimeout(this.#releaseTimer);
    out.write(
      this.#browserRequests.filter(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)),
    );
    this.#releaseTimer = setTimeout(() => out.write(this.#browserRequests.release()), heldOutputMs);
    this.#notes.flush();
  }

  #takeTerminal(): void {
    if (this.#leaveRawMode !== undefined) return;
    if (this.#isTerminal && this.#cli.surroundings.isStdinTty) this.#leaveRawMode = enterRawMode();
  }

  #startInput(): void {
    if (this.#isStdinStarted) return;
    this.#takeTerminal();
    if (this.#leaveRawMode !== undefined) {
      process.stdout.on("resize", this.#onResize);
      this.#onResize();
    }
    // Keys typed at a terminal belong to a terminal session only; a pipe is always sent.
    const isWanted = this.#isTerminal || !this.#cli.surroundings.isStdinTty;
    if (!this.#request.readsStdin || !isWanted) return;
    this.#isStdinStarted = true;
    let isEnded = false;
    const end = (): void => {
      // A terminal that ends was closed: its session goes on, and Ctrl+D would log it out.
      if (!isEnded && this.#leaveRawMode === undefined) this.#socket?.sendStdinEnd();
      isEnded = true;
    };
    process.stdin.on("data", (chunk: Buffer) => this.#onInput(chunk));
    process.stdin.on("end", end);
    // A stdin that cannot be read (closed, a directory) is one that has ended.
    process.stdin.on("error", end);
  }

  #onInput(chunk: Buffer): void {
    const isKeys = this.#leaveRawMode !== undefined;
    const keys = isKeys ? this.#pages.takeAnswer(chunk) : chunk;
    const { before, isDetach } = isKeys ? splitAtDetach(keys) : { before: keys, isDetach: false };
    if (before.byteLength > 0 && this.#socket?.send(before) === false) process.stdin.pause();
    if (isDetach) this.#finish({ kind: "detached" });
  }

  readonly #onResize = (): void => {
    const size = terminalSize();
    if (size === undefined) return;
    if (size.cols === this.#lastSize?.cols && size.rows === this.#lastSize.rows) return;
    this.#lastSize = size;
    this.#socket?.sendResize(size);
  };
}

/** An end without an exit notice is never success: nobody knows what the command did. */
function lostConnection(
  end: { closeCode: number; reason: string },
  session: { sessionId: string; isTerminal: boolean },
): CliError {
  const reasons: Readonly<Record<number, string>> = {
    [execCloseCode.goingAway]: "the sprite or its server stopped",
    1006: "the connection was lost",
    1009: "the server sent a frame that is too large",
    [execCloseCode.internalFailure]: "the server failed",
    [execCloseCode.tooSlow]: "this end read too slowly to follow the session",
  };
  const known = reasons[end.closeCode];
  const reason = end.reason === "" ? undefined : printable(end.reason);
  const why =
    known === undefined
      ? (reason ?? `the connection was closed with code ${end.closeCode}`)
      : `${known}${reason === undefined ? "" : ` (${reason})`}`;
  // A sprite that stopped has ended its commands; otherwise the session may have survived us.
  const mayRun = session.sessionId !== "" && end.closeCode !== execCloseCode.goingAway;
  return new CliError(`the command's exit code is not known: ${why}`, {
    code: "connection_lost",
    details: { close_code: end.closeCode, session_id: session.sessionId },
    ...(mayRun ? { hint: `If it still runs:  sprite attach ${session.sessionId}` } : {}),
  });
}
