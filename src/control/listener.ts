/** The port: limits, timeouts, what is not HTTP, and an orderly end. */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { Socket, type AddressInfo } from "node:net";

import { assert } from "../base/assert.ts";
import { listen } from "../base/listen.ts";
import { rawJsonResponse } from "../base/raw-response.ts";
import { SpriteError, errorResponse } from "../contract/errors.ts";
import { headerSizeBytesMax } from "../contract/limits.ts";
import { endGently } from "./splice/gentle-end.ts";
import {
  connectionsMax,
  headersTimeoutMs,
  keepAliveTimeoutMs,
  tcpKeepAliveDelayMs,
} from "./limits.ts";
import { randomRequestId } from "./random-ids.ts";
import { isAgentUpgrade } from "./request-target.ts";

export interface ListenerHandlers {
  onRequest(request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void;
  /** The socket has left the HTTP server. */
  onUpgrade(request: IncomingMessage, socket: Socket, head: Buffer): void;
}

export class Listener {
  readonly #server: Server;
  readonly #version: string;
  /** Connections that were answered without a request, and only drain. */
  readonly #refused = new WeakSet<Socket>();
  readonly #sockets = new Set<Socket>();
  readonly #responses = new WeakMap<Socket, ServerResponse>();
  #closed: Promise<void> | null = null;

  constructor(handlers: ListenerHandlers, version: string) {
    this.#version = version;
    this.#server = createServer({
      maxHeaderSize: headerSizeBytesMax,
      headersTimeout: headersTimeoutMs,
      // A command's stdin may take hours to arrive; JSON bodies have a deadline of their own.
      requestTimeout: 0,
      keepAliveTimeout: keepAliveTimeoutMs,
      keepAlive: true,
      keepAliveInitialDelay: tcpKeepAliveDelayMs,
      noDelay: true,
      // Node would refuse these by itself, without the JSON that every error of ours has.
      requireHostHeader: false,
      shouldUpgradeCallback: ({ method, headers, url }) =>
        isAgentUpgrade(method, headers.upgrade, url ?? ""),
    });
    this.#server.maxConnections = connectionsMax;
    // The size of the headers is limited; beyond a count, Node would drop some silently.
    this.#server.maxHeadersCount = 0;
    this.#server.on("connection", (socket) => this.#track(socket));
    const onRequest =
      (expectsContinue: boolean) => (request: IncomingMessage, response: ServerResponse) => {
        this.#responses.set(request.socket, response);
        handlers.onRequest(request, response, expectsContinue);
      };
    this.#server.on("request", onRequest(false));
    this.#server.on("checkContinue", onRequest(true));
    // An expectation that nobody knows is no reason to refuse (RFC 9110, section 10.1.1, leaves it open).
    this.#server.on("checkExpectation", onRequest(false));
    this.#server.on("upgrade", (request, socket, head) => {
      assert(socket instanceof Socket, "an upgrade comes over a TCP socket");
      socket.on("error", () => socket.destroy());
      handlers.onUpgrade(request, socket, head);
    });
    this.#server.on("clientError", (error, socket) => {
      assert(socket instanceof Socket, "a request comes over a TCP socket");
      this.#onClientError(error, socket);
    });
  }

  listen(options: { host: string; port: number }): Promise<AddressInfo> {
    return listen(this.#server, options);
  }

  /** As one that came in by the port; it does not keep `close` waiting. */
  serve(socket: Socket): void {
    this.#server.emit("connection", socket);
  }

  /** Takes no more connections, and closes those without a request. Resolves when none is left. */
  close(): Promise<void> {
    this.#closed ??= new Promise((resolve) => {
      if (this.#server.listening) this.#server.close(() => resolve());
      else resolve();
    });
    return this.#closed;
  }

  /** Connections become idle after `close` too, when their last answer has gone out. */
  closeIdleConnections(): void {
    this.#server.closeIdleConnections();
  }

  destroyConnections(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #track(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
  }

  /** What came is not HTTP, too large, or too slow; no request knows of it. */
  #onClientError(error: Error, socket: Socket): void {
    // The parser goes on complaining about what still arrives; the answer is on its way, and a
    // reset would overtake it.
    if (this.#refused.has(socket)) return;
    const response = this.#responses.get(socket);
    const answering = response !== undefined && response.headersSent && !response.writableFinished;
    if (answering || !socket.writable || socket.destroyed) {
      socket.destroy();
      return;
    }
    const { status, body } = errorResponse(requestError("code" in error ? error.code : null));
    const added = { "sprite-version": this.#version, "x-request-id": randomRequestId() };
    this.#refused.add(socket);
    endGently(socket, rawJsonResponse(status, body, added));
  }
}

function requestError(code: unknown): SpriteError {
  switch (code) {
    case "HPE_HEADER_OVERFLOW":
      return new SpriteError(
        "headers_too_large",
        `the request line and headers are larger than ${headerSizeBytesMax} bytes`,
      );
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return new SpriteError("invalid_request", "the request's headers did not arrive in time");
    default:
      return new SpriteError("invalid_request", "this is not a valid HTTP/1.1 request");
  }
}
