import { rm, chmod } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Duplex } from "node:stream";

import type { Log } from "../../base/log.ts";
import { SpriteError } from "../../contract/errors.ts";
import { FileError } from "../../contract/file-error.ts";
import { headerSizeBytesMax } from "../../contract/limits.ts";
import {
  closeGraceMs,
  headersTimeoutMs,
  idleConnectionTimeoutMs,
  refusedDrainBytesMax,
  refusedDrainMs,
} from "./limits.ts";
import { Query } from "./query.ts";
import { openGate, type RequestGate } from "./request-gate.ts";
import { sendError, versionHeader, writeRawError } from "./responses.ts";
import {
  findRoute,
  matchPattern,
  pathSegments,
  type PathPrefix,
  type Route,
  type UpgradeRoute,
} from "./route.ts";

export interface RouterOptions {
  routes: readonly Route[];
  upgradeRoutes?: readonly UpgradeRoute[];
  prefix: PathPrefix;
  /** Value of the `Sprite-Version` header on every response. */
  version: string;
  /** Asked before each request that is not quiet; without it, nobody is. */
  gate?: RequestGate;
  log: Log;
}

export interface RouterServer {
  /** Binds a Unix socket, in place of one that a dead process left. */
  listen(socketPath: string, options?: { mode?: number }): Promise<void>;
  /** Takes no more connections and breaks off those that remain after the time. */
  close(options?: { graceMs?: number }): Promise<void>;
}

/** An HTTP server of one of the agent's sockets. */
export function createRouterServer(options: RouterOptions): RouterServer {
  return new UnixSocketServer(options);
}

class UnixSocketServer implements RouterServer {
  readonly #options: RouterOptions;
  readonly #gate: RequestGate;
  readonly #server: Server;
  readonly #upgraded = new Set<Duplex>();
  #socketPath: string | null = null;
  #requestCount = 0;

  constructor(options: RouterOptions) {
    this.#options = options;
    this.#gate = options.gate ?? openGate;
    this.#server = createServer({
      maxHeaderSize: headerSizeBytesMax,
      headersTimeout: headersTimeoutMs,
      // A body may be a command's input, which takes as long as it takes.
      requestTimeout: 0,
      keepAliveTimeout: idleConnectionTimeoutMs,
      noDelay: true,
    });
    this.#server.maxHeadersCount = 0;
    this.#server.on("request", (request, response) => void this.#onRequest(request, response));
    this.#server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      void this.#onUpgrade(request, socket, head);
    });
    this.#server.on("clientError", (error: NodeJS.ErrnoException, socket: Duplex) => {
      this.#onClientError(error, socket);
    });
  }

  async listen(socketPath: string, options: { mode?: number } = {}): Promise<void> {
    await rm(socketPath, { force: true });
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(socketPath, () => {
        this.#server.off("error", reject);
        resolve();
      });
    });
    this.#socketPath = socketPath;
    if (options.mode !== undefined) await chmod(socketPath, options.mode);
  }

  async close(options: { graceMs?: number } = {}): Promise<void> {
    if (this.#socketPath === null) return;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeIdleConnections();
    const timer = setTimeout(() => {
      this.#server.closeAllConnections();
      for (const socket of this.#upgraded) socket.destroy();
    }, options.graceMs ?? closeGraceMs);
    await closed;
    clearTimeout(timer);
  }

  async #onRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const log = this.#requestLog(request);
    response.setHeader(versionHeader, this.#options.version);
    response.on("error", (error) => log.debug({ err: error }, "a response broke off"));
    try {
      const { segments, query } = this.#target(request);
      const match = findRoute(this.#options.routes, request.method ?? "", segments);
      if (match.kind === "wrong_method") {
        response.setHeader("Allow", match.allowed.join(", "));
        throw new SpriteError("method_not_allowed", `${request.method} is not possible here`);
      }
      if (match.kind === "none") throw unknownPath();
      const { route, params } = match;
      if (route.holdsDisk === true && !response.closed) {
        response.once("close", this.#gate.holdDisk());
      }
      if (route.isQuiet !== true) {
        const method = request.method ?? "";
        const leave = await this.#gate.enter({ method, name: segments.join("/") });
        // Who has left meanwhile does so once: nothing would tell us, or what it asked for, again.
        if (response.closed) {
          leave();
          return;
        }
        response.once("close", leave);
      }
      await route.handle({ request, response, params, query, log });
    } catch (error) {
      logFailure(log, error);
      sendError(response, error);
    }
  }

  async #onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const log = this.#requestLog(request);
    this.#upgraded.add(socket);
    socket.once("close", () => this.#upgraded.delete(socket));
    socket.on("error", (error) => log.debug({ err: error }, "a connection broke off"));
    try {
      const { segments, query } = this.#target(request);
      for (const route of this.#options.upgradeRoutes ?? []) {
        const params = matchPattern(route.pattern, segments);
        if (params === null) continue;
        const leave = await this.#gate.enter({ method: "open", name: segments.join("/") });
        try {
          await route.handle({ request, socket, head, params, query, log });
        } finally {
          leave();
        }
        return;
      }
      throw unknownPath();
    } catch (error) {
      logFailure(log, error);
      writeRawError(socket, error, { [versionHeader]: this.#options.version });
      drainRefused(socket);
    }
  }

  #onClientError(error: NodeJS.ErrnoException, socket: Duplex): void {
    if (error.code === "ECONNRESET" || !socket.writable) {
      socket.destroy();
      return;
    }
    const refusal =
      error.code === "HPE_HEADER_OVERFLOW"
        ? new SpriteError("headers_too_large", "the request's address and headers are too large", {
            details: { limit: headerSizeBytesMax },
          })
        : new SpriteError("invalid_request", "the request is not valid HTTP");
    writeRawError(socket, refusal, { [versionHeader]: this.#options.version });
    drainRefused(socket);
  }

  #target(request: IncomingMessage): { segments: string[]; query: Query } {
    const url = request.url ?? "/";
    const mark = url.indexOf("?");
    const path = mark < 0 ? url : url.slice(0, mark);
    const segments = pathSegments(path, this.#options.prefix);
    if (segments === null) throw unknownPath();
    return { segments, query: Query.parse(mark < 0 ? "" : url.slice(mark + 1)) };
  }

  /**
   * The front door's request id goes on; the query holds commands and environments, and stays out
   * of the log.
   */
  #requestLog(request: IncomingMessage): Log {
    const given = request.headers["x-request-id"];
    const requestId = typeof given === "string" ? given.slice(0, 128) : `a${++this.#requestCount}`;
    return this.#options.log.child({ requestId, method: request.method });
  }
}

function unknownPath(): SpriteError {
  return new SpriteError("not_found", "no such path");
}

/** A user's mistake is told to the user; what is ours goes to the log too. */
function logFailure(log: Log, error: unknown): void {
  const isUsers = error instanceof SpriteError || error instanceof FileError;
  if (isUsers && error.status < 500) {
    log.debug({ code: error.code }, error.message);
    return;
  }
  log.error({ err: error }, "a request failed");
}

/**
 * A client that still sends would lose our answer if the socket were closed on it; its rest is read
 * and dropped for a while.
 */
function drainRefused(socket: Duplex): void {
  let rest = refusedDrainBytesMax;
  socket.removeAllListeners("data");
  socket.on("data", (bytes: Buffer) => {
    rest -= bytes.length;
    if (rest < 0) socket.destroy();
  });
  socket.once("end", () => socket.destroy());
  socket.resume();
  const timer = setTimeout(() => socket.destroy(), refusedDrainMs);
  socket.once("close", () => clearTimeout(timer));
}
