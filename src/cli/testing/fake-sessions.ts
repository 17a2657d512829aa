/** The commands of one fake sprite: real local processes behind contract.md section 3. */
import { spawn as spawnTerminal } from "@lydell/node-pty";
import { spawn, type ChildProcess } from "node:child_process";
import type { IncomingMessage, ServerResponse } from "node:http";
import { constants } from "node:os";
import type { WebSocket } from "ws";
import type { FakeFaults } from "./fake-server.ts";

const scrollbackBytesMax = 1024 * 1024;
const sendQueueBytesMax = 256 * 1024;

interface FakeSession {
  id: string;
  command: string;
  isTerminal: boolean;
  clients: Set<WebSocket>;
  scrollback: Buffer[];
  /** False when the command is slow to read. */
  write(bytes: Buffer): boolean;
  onceInputDrained(resume: () => void): void;
  endInput(): void;
  signal(name: string): void;
  resize(cols: number, rows: number): void;
  pauseOutput(): void;
  resumeOutput(): void;
}

type OnOutput = (stream: 1 | 2, bytes: Buffer) => void;
type OnExit = (exitCode: number) => void;

export class FakeSessions {
  readonly #sessions = new Map<string, FakeSession>();
  readonly exits = new Map<string, number>();
  readonly #waiters = new Map<string, ((code: number) => void)[]>();

  has(id: string): boolean {
    return this.#sessions.has(id);
  }

  list(): Record<string, unknown> {
    const sessions = [...this.#sessions.values()].map(({ id, command, isTerminal }) => ({
      id,
      command,
      workdir: "/home/sprite",
      created: new Date().toISOString(),
      is_active: true,
      last_activity: new Date().toISOString(),
      tty: isTerminal,
    }));
    return { count: sessions.length, sessions };
  }

  endAll(): void {
    for (const session of this.#sessions.values()) session.signal("SIGKILL");
  }

  start(socket: WebSocket, query: URLSearchParams, faults: FakeFaults): void {
    const isTerminal = query.get("tty") === "true";
    const onOutput: OnOutput = (stream, bytes) => {
      if (isTerminal) remember(session, bytes);
      for (const client of session.clients) sendOutput(client, session, { stream, bytes });
    };
    const onExit: OnExit = (exitCode) => {
      this.#forget(session, exitCode);
      for (const client of session.clients) {
        if (faults.dropExit === true) client.terminate();
        else sendExit(client, { exitCode, isTerminal });
      }
    };
    const session = launch(query, onOutput, onExit);
    this.#sessions.set(session.id, session);
    if (!isTerminal && query.get("stdin") !== "true") session.endInput();
    this.#join(socket, session, { isOwner: true, discardsInput: false });
  }

  attach(socket: WebSocket, id: string, query: URLSearchParams): void {
    const session = this.#sessions.get(id);
    if (session === undefined) return;
    this.#join(socket, session, {
      isOwner: false,
      discardsInput: query.get("stdin") === "false",
    });
    for (const bytes of session.scrollback) sendOutput(socket, session, { stream: 1, bytes });
  }

  /** HTTP exec: one chunk a frame, the exit frame alone and last. */
  startHttp(
    request: IncomingMessage,
    response: ServerResponse,
    query: URLSearchParams,
    faults: FakeFaults,
  ): void {
    response.writeHead(200, { "Content-Type": "application/octet-stream" });
    const session = launch(
      query,
      (stream, bytes) => {
        const isTaken = response.write(Buffer.concat([Buffer.of(stream), bytes]));
        if (isTaken) return;
        session.pauseOutput();
        response.once("drain", () => session.resumeOutput());
      },
      (exitCode) => {
        this.#forget(session, exitCode);
        if (faults.dropExit === true) response.destroy();
        else response.end(Buffer.of(3, exitCode));
      },
    );
    this.#sessions.set(session.id, session);
    if (query.get("stdin") !== "true") session.endInput();
    else {
      request.on("data", (bytes: Buffer) => session.write(bytes));
      request.on("end", () => session.endInput());
    }
    response.on("close", () => session.signal("SIGKILL"));
  }

  async kill(response: ServerResponse, id: string, query: URLSearchParams): Promise<void> {
    const session = this.#sessions.get(id);
    if (session === undefined) {
      const status = this.exits.has(id) ? 410 : 404;
      const error = status === 410 ? "gone" : "not_found";
      response.writeHead(status, { "Content-Type": "application/json" });
      response.end(JSON.stringify({ error, message: `session not found: ${id}` }));
      return;
    }
    response.writeHead(200, { "Content-Type": "application/x-ndjson" });
    const signal = `SIG${(query.get("signal") ?? "SIGTERM").replace(/^SIG/, "")}`;
    const exited = new Promise<number>((resolve) => {
      this.#waiters.set(id, [...(this.#waiters.get(id) ?? []), resolve]);
    });
    session.signal(signal);
    response.write(`${JSON.stringify({ type: "signal", message: `Signaling ${signal}` })}\n`);
    const exitCode = await exited;
    response.end(
      `${JSON.stringify({ type: "exited" })}\n` +
        `${JSON.stringify({ type: "complete", exit_code: exitCode })}\n`,
    );
  }

  #join(
    socket: WebSocket,
    session: FakeSession,
    options: { isOwner: boolean; discardsInput: boolean },
  ): void {
    session.clients.add(socket);
    socket.on("close", () => session.clients.delete(socket));
    socket.on("message", (data, isBinary) => {
      const bytes = data as Buffer;
      if (!isBinary) onControl(session, bytes.toString("utf8"));
      else if (options.discardsInput) return;
      else if (session.isTerminal) session.write(bytes);
      else if (bytes[0] === 0) {
        if (session.write(bytes.subarray(1))) return;
        socket.pause();
        session.onceInputDrained(() => socket.resume());
      } else if (bytes[0] === 4 && options.isOwner) session.endInput();
    });
    const info = {
      type: "session_info",
      session_id: session.id,
      command: session.command,
      tty: session.isTerminal,
      is_owner: options.isOwner,
    };
    socket.send(JSON.stringify(info));
  }

  #forget(session: FakeSession, exitCode: number): void {
    this.#sessions.delete(session.id);
    this.exits.set(session.id, exitCode);
    for (const wake of this.#waiters.get(session.id) ?? []) wake(exitCode);
  }
}

function onControl(session: FakeSession, text: string): void {
  const message = JSON.parse(text) as Record<string, unknown>;
  if (message["type"] === "signal") session.signal(String(message["signal"]));
  if (message["type"] === "resize") {
    session.resize(Number(message["cols"]), Number(message["rows"]));
  }
}

function sendOutput(
  client: WebSocket,
  session: FakeSession,
  output: { stream: 1 | 2; bytes: Buffer },
): void {
  const frame = session.isTerminal
    ? output.bytes
    : Buffer.concat([Buffer.of(output.stream), output.bytes]);
  client.send(frame, () => {
    if (client.bufferedAmount <= sendQueueBytesMax) session.resumeOutput();
  });
  if (client.bufferedAmount > sendQueueBytesMax) session.pauseOutput();
}

function sendExit(client: WebSocket, end: { exitCode: number; isTerminal: boolean }): void {
  if (!end.isTerminal) client.send(Buffer.of(3, end.exitCode));
  const text = { type: "exit", exit_code: end.exitCode, code: end.exitCode };
  client.send(JSON.stringify(text));
  client.close(end.isTerminal && end.exitCode !== 0 ? 4000 : 1000);
}

function remember(session: FakeSession, bytes: Buffer): void {
  session.scrollback.push(bytes);
  let sizeBytes = session.scrollback.reduce((sum, part) => sum + part.byteLength, 0);
  while (sizeBytes > scrollbackBytesMax) sizeBytes -= session.scrollback.shift()?.byteLength ?? 0;
}

function launch(query: URLSearchParams, onOutput: OnOutput, onExit: OnExit): FakeSession {
  const words = query.getAll("cmd");
  const isConsole = words[0] === "/.sprite/bin/sprite-console";
  const [file = "bash", ...args] = isConsole ? ["bash", "-l"] : words;
  const pairs = query.getAll("env").map((pair): [string, string] => {
    const equals = pair.indexOf("=");
    return [pair.slice(0, equals), pair.slice(equals + 1)];
  });
  const env = { PATH: process.env["PATH"] ?? "", HOME: "/tmp", ...Object.fromEntries(pairs) };
  const cwd = query.get("dir") ?? "/tmp";
  const command = [file, ...args].join(" ");
  const common = { command, clients: new Set<WebSocket>(), scrollback: [] };
  if (query.get("tty") !== "true") {
    const child = spawn(file, args, { env, cwd, detached: true });
    return { ...common, isTerminal: false, ...pipeSession(child, { file, onOutput, onExit }) };
  }
  const cols = Number(query.get("cols") ?? 80);
  const rows = Number(query.get("rows") ?? 24);
  const terminal = spawnTerminal(file, args, { env, cwd, cols, rows, encoding: null });
  // With `encoding: null` the data are Buffers, which the package's types do not say.
  terminal.onData((data) => onOutput(1, Buffer.from(data)));
  terminal.onExit(({ exitCode, signal }) => {
    onExit(signal === undefined || signal === 0 ? exitCode : 128 + signal);
  });
  return {
    ...common,
    id: String(terminal.pid),
    isTerminal: true,
    write: (bytes) => {
      terminal.write(bytes.toString("utf8"));
      return true;
    },
    onceInputDrained: () => {},
    endInput: () => {},
    signal: (name) => terminal.kill(name),
    resize: (columns, lines) => {
      try {
        terminal.resize(columns, lines);
      } catch {
        // The command has ended, and its terminal with it.
      }
    },
    pauseOutput: () => {},
    resumeOutput: () => {},
  };
}

function pipeSession(
  child: ChildProcess,
  events: { file: string; onOutput: OnOutput; onExit: OnExit },
): Omit<FakeSession, "command" | "clients" | "scrollback" | "isTerminal"> {
  child.stdout?.on("data", (bytes: Buffer) => events.onOutput(1, bytes));
  child.stderr?.on("data", (bytes: Buffer) => events.onOutput(2, bytes));
  child.stdin?.on("error", () => {});
  child.on("error", () => {
    events.onOutput(2, Buffer.from(`${events.file}: command not found\n`));
    events.onExit(127);
  });
  child.on("close", (code, signal) => {
    if (child.pid === undefined) return;
    events.onExit(code ?? 128 + (signal === null ? 0 : constants.signals[signal]));
  });
  return {
    id: String(child.pid ?? 0),
    write: (bytes) => child.stdin?.write(bytes) ?? true,
    onceInputDrained: (resume) => child.stdin?.once("drain", resume),
    endInput: () => child.stdin?.end(),
    signal: (name) => {
      if (child.pid === undefined || child.exitCode !== null) return;
      try {
        process.kill(-child.pid, name);
      } catch {
        // The group has ended on its own.
      }
    },
    resize: () => {},
    pauseOutput: () => {
      child.stdout?.pause();
      child.stderr?.pause();
    },
    resumeOutput: () => {
      child.stdout?.resume();
      child.stderr?.resume();
    },
  };
}
