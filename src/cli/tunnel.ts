/** One TCP tunnel into a sprite: a WebSocket of its own, whose binary messages are the bytes (contract.md section 9.1). */
import { setTimeout as delay } from "node:timers/promises";
import { WebSocket } from "ws";
import { endOfInputMessage } from "../contract/proxy.ts";
import type { ApiClient } from "./api-client.ts";
import { CliError } from "./errors.ts";
import {
  connectionSilenceMsMax,
  pingIntervalMs,
  queueHighBytes,
  queueLowBytes,
  tunnelReplyMsMax,
  tunnelRetryMsMax,
} from "./limits.ts";
import { printable } from "./text.ts";
import { accepted, connectWebSocket } from "./web-socket.ts";

export interface TunnelTarget {
  /** Looked up inside the sprite. */
  host: string;
  port: number;
}

/** What stands at this end: a local connection, or stdin and stdout. */
export interface TunnelEnd {
  /** Begins to hand over what is read here; its end is a call of `end`. */
  start(input: { data(bytes: Buffer): void; end(): void }): void;
  pause(): void;
  resume(): void;
  /** False asks to wait for `onDrain`. */
  write(bytes: Buffer): boolean;
  /** The other side sends no more. */
  end(): void;
  onDrain: (() => void) | null;
}

export type TunnelClose = "ended" | "broken";

export class Tunnel {
  readonly #socket: WebSocket;
  readonly #early: Buffer[] = [];
  readonly #pinger: NodeJS.Timeout;
  #lastSeenMs = performance.now();
  #end: TunnelEnd | undefined;
  #hasEarlyEnd = false;
  #isInputPaused = false;
  readonly closed: Promise<TunnelClose>;

  /** Connects to the target, trying again while server or sprite are starting. @throws CliError */
  static async open(client: ApiClient, path: string, target: TunnelTarget): Promise<Tunnel> {
    const endMs = performance.now() + tunnelRetryMsMax;
    for (let waitMs = 200; ; waitMs *= 2) {
      try {
        return await Tunnel.#openOnce(client, path, target);
      } catch (error) {
        const isPassing =
          error instanceof CliError && (error.code === "unreachable" || error.status === 503);
        if (!isPassing || performance.now() + waitMs > endMs) throw error;
        await delay(waitMs);
      }
    }
  }

  static async #openOnce(client: ApiClient, path: string, target: TunnelTarget): Promise<Tunnel> {
    const socket = connectWebSocket(client, `${path}/proxy`);
    const reply = firstText(socket);
    try {
      await accepted(socket, client);
      socket.send(JSON.stringify({ ...target, half_close: true }));
      const tunnel = new Tunnel(socket);
      assertConnected(await reply, target);
      return tunnel;
    } catch (error) {
      // The answer that nobody awaits any more.
      reply.catch(() => {});
      socket.on("error", () => {});
      socket.terminate();
      throw error;
    }
  }

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    this.closed = new Promise((resolve) => {
      socket.once("close", (code) => resolve(code === 1000 ? "ended" : "broken"));
    });
    // An error is always followed by a close.
    socket.on("error", () => {});
    socket.on("message", (data, isBinary) => this.#onMessage(data as Buffer, isBinary));
    socket.on("pong", () => (this.#lastSeenMs = performance.now()));
    this.#pinger = setInterval(() => this.#checkLife(), pingIntervalMs);
    socket.once("close", () => clearInterval(this.#pinger));
  }

  /** Carries bytes both ways until either side has ended. */
  join(end: TunnelEnd): void {
    this.#end = end;
    end.onDrain = () => this.#socket.resume();
    for (const bytes of this.#early.splice(0)) this.#deliver(end, bytes);
    if (this.#hasEarlyEnd) end.end();
    end.start({
      data: (bytes) => this.#send(bytes),
      end: () => {
        if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(endOfInputMessage);
      },
    });
  }

  close(): void {
    this.#socket.resume();
    this.#socket.close(1000);
    const cut = setTimeout(() => this.#socket.terminate(), 2_000);
    void this.closed.then(() => clearTimeout(cut));
  }

  #onMessage(bytes: Buffer, isBinary: boolean): void {
    this.#lastSeenMs = performance.now();
    if (!isBinary) {
      if (bytes.toString("latin1") !== endOfInputMessage) return;
      if (this.#end === undefined) this.#hasEarlyEnd = true;
      else this.#end.end();
    } else if (this.#end === undefined) this.#early.push(bytes);
    else this.#deliver(this.#end, bytes);
  }

  #deliver(end: TunnelEnd, bytes: Buffer): void {
    if (!end.write(bytes)) this.#socket.pause();
  }

  #send(bytes: Buffer): void {
    const socket = this.#socket;
    if (socket.readyState !== WebSocket.OPEN) return;
    socket.send(bytes, { binary: true }, () => {
      if (!this.#isInputPaused || socket.bufferedAmount > queueLowBytes) return;
      this.#isInputPaused = false;
      this.#end?.resume();
    });
    if (this.#isInputPaused || socket.bufferedAmount <= queueHighBytes) return;
    this.#isInputPaused = true;
    this.#end?.pause();
  }

  #checkLife(): void {
    if (this.#socket.readyState !== WebSocket.OPEN || this.#socket.isPaused) return;
    if (performance.now() - this.#lastSeenMs > connectionSilenceMsMax) this.#socket.terminate();
    else this.#socket.ping();
  }
}

/** The server's answer to the target. It may come in one read with the first bytes. */
function firstText(socket: WebSocket): Promise<string> {
  return new Promise((resolve, reject) => {
    const lost = (): void => {
      const code = "connection_lost";
      reject(new CliError("the tunnel was closed before it was open", { code }));
    };
    socket.once("open", () => {
      const timer = setTimeout(lost, tunnelReplyMsMax);
      socket.once("message", (data, isBinary) => {
        clearTimeout(timer);
        if (isBinary) lost();
        else resolve((data as Buffer).toString("utf8"));
      });
      socket.once("close", () => {
        clearTimeout(timer);
        lost();
      });
    });
  });
}

function assertConnected(reply: string, target: TunnelTarget): void {
  let fields: Record<string, unknown> = {};
  try {
    const value: unknown = JSON.parse(reply);
    if (typeof value === "object" && value !== null) fields = value as Record<string, unknown>;
  } catch {
    // Not JSON is not connected; what came is told below.
  }
  if (fields["status"] === "connected") return;
  const { error, code } = fields;
  const why = typeof error === "string" ? error : "the server did not say why";
  const message = `connect to ${target.host}:${target.port} in the sprite: ${printable(why)}`;
  throw new CliError(message, { code: typeof code === "string" ? code : "not_connected" });
}
