/** The TLS port: names and certificates, versions of HTTP, and how many connections there may be. */
import type { IncomingMessage, ServerResponse } from "node:http";
import {
  createServer as createHttp2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import { createServer, type Server } from "node:https";
import { isIPv6, type AddressInfo, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { SecureContext, TLSSocket } from "node:tls";

import { listen } from "../base/listen.ts";
import { encodeRawResponse } from "../base/raw-response.ts";
import { SpriteError } from "../contract/errors.ts";
import type { CertificateSource } from "./certificates.ts";
import {
  connectionsMax,
  connectionsPerAddressMax,
  handshakeTimeoutMs,
  headersCheckMs,
  headersTimeoutMs,
  keepAliveTimeoutMs,
  refusedBodyMsMax,
  requestHeadBytesMax,
  sessionMemoryMbMax,
  streamResetBurst,
  streamResetRate,
  streamsPerConnectionMax,
  tcpKeepAliveDelayMs,
} from "./limits.ts";
import { errorAnswer } from "./pages.ts";

export interface TlsPortHandlers {
  /** Whose connections are not ours to read: the API's. It speaks HTTP/1.1 only. */
  isForApi(serverName: string): boolean;
  onApiConnection(socket: TLSSocket): void;
  onRequest(request: IncomingMessage, response: ServerResponse): void;
  onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  onStream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, raw: readonly string[]): void;
  onCertificateError(serverName: string, error: unknown): void;
}

export class TlsPort {
  readonly #handlers: TlsPortHandlers;
  readonly #server: Server;
  readonly #http2 = createHttp2Server({
    settings: {
      enableConnectProtocol: true,
      maxConcurrentStreams: streamsPerConnectionMax,
      maxHeaderListSize: requestHeadBytesMax,
    },
    maxSessionMemory: sessionMemoryMbMax,
    streamResetBurst,
    streamResetRate,
  });
  readonly #countByAddress = new Map<string, number>();
  readonly #sockets = new Set<Socket>();
  readonly #sessions = new Set<ServerHttp2Session>();

  /** `headersMs`: from a connection's first byte, or a kept one's next, to the end of the headers. */
  constructor(
    certificates: CertificateSource,
    handlers: TlsPortHandlers,
    { headersMs = headersTimeoutMs }: { headersMs?: number | undefined } = {},
  ) {
    this.#handlers = handlers;
    this.#server = createServer({
      SNICallback: (serverName, done) => {
        void this.#context(certificates, serverName, done);
      },
      ALPNCallback: ({ servername, protocols }) => {
        const isHttp2 = protocols.includes("h2") && !handlers.isForApi(plainName(servername));
        if (isHttp2) return "h2";
        return protocols.includes("http/1.1") ? "http/1.1" : undefined;
      },
      minVersion: "TLSv1.2",
      handshakeTimeout: handshakeTimeoutMs,
      maxHeaderSize: requestHeadBytesMax,
      headersTimeout: headersMs,
      connectionsCheckingInterval: Math.min(headersMs, headersCheckMs),
      // Uploads take as long as they take; what stands still is found by its exchange.
      requestTimeout: 0,
      keepAliveTimeout: keepAliveTimeoutMs,
      noDelay: true,
      // A WebSocket whose client has gone without a word would otherwise be open for ever.
      keepAlive: true,
      keepAliveInitialDelay: tcpKeepAliveDelayMs,
      requireHostHeader: false,
      shouldUpgradeCallback: ({ headers }) => headers.upgrade?.toLowerCase() === "websocket",
    });
    this.#server.maxConnections = connectionsMax;
    this.#server.maxHeadersCount = 0;
    this.#server.on("connection", (socket: Socket) => this.#count(socket));
    // Errors of handshakes are the clients' own.
    this.#server.on("tlsClientError", (_error, socket) => socket.destroy());
    this.#splitByProtocol();
    this.#server.on("request", handlers.onRequest);
    this.#server.on("checkContinue", handlers.onRequest);
    this.#server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      socket.on("error", () => socket.destroy());
      handlers.onUpgrade(request, socket, head);
    });
    this.#server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
      onBadRequest(error, socket);
    });
    this.#http2.on("session", (session) => this.#onSession(session));
    this.#http2.on("stream", (stream, headers, _flags, raw: string[]) => {
      handlers.onStream(stream, headers, raw);
    });
  }

  listen(options: { host: string; port: number }): Promise<AddressInfo> {
    return listen(this.#server, options);
  }

  /** Takes no more connections; resolves when none is left, or all were cut. */
  async stop(graceMs: number): Promise<void> {
    const { promise: closed, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    this.#server.closeIdleConnections();
    for (const session of this.#sessions) session.close();
    const cut = setTimeout(() => {
      for (const socket of this.#sockets) socket.destroy();
    }, graceMs);
    await closed;
    clearTimeout(cut);
  }

  /** One server would have every connection be of the version that it knows. */
  #splitByProtocol(): void {
    const serveHttp1 = this.#server.listeners("secureConnection");
    this.#server.removeAllListeners("secureConnection");
    this.#server.on("secureConnection", (socket: TLSSocket) => {
      socket.on("error", () => socket.destroy());
      const { onApiConnection, isForApi } = this.#handlers;
      if (isForApi(serverNameOf(socket))) onApiConnection(socket);
      else if (socket.alpnProtocol === "h2") this.#http2.emit("connection", socket);
      else for (const serve of serveHttp1) serve.call(this.#server, socket);
    });
  }

  async #context(
    certificates: CertificateSource,
    serverName: string,
    done: (error: Error | null, context?: SecureContext) => void,
  ): Promise<void> {
    try {
      const context = await certificates.contextFor(plainName(serverName));
      if (context === null) done(new Error("no certificate for this name"));
      else done(null, context);
    } catch (error) {
      this.#handlers.onCertificateError(serverName, error);
      done(new Error("no certificate for this name"));
    }
  }

  #count(socket: Socket): void {
    const address = addressBlockOf(addressOf(socket));
    const count = this.#countByAddress.get(address) ?? 0;
    if (count >= connectionsPerAddressMax) {
      socket.destroy();
      return;
    }
    this.#countByAddress.set(address, count + 1);
    this.#sockets.add(socket);
    socket.once("close", () => {
      this.#sockets.delete(socket);
      const left = (this.#countByAddress.get(address) ?? 1) - 1;
      if (left > 0) this.#countByAddress.set(address, left);
      else this.#countByAddress.delete(address);
    });
  }

  #onSession(session: ServerHttp2Session): void {
    this.#sessions.add(session);
    session.once("close", () => this.#sessions.delete(session));
    session.on("error", () => session.destroy());
    // Nothing in either direction, also no stream's byte; streams that wait are counted by their exchanges.
    let streams = 0;
    session.on("stream", (stream) => {
      streams += 1;
      stream.once("close", () => (streams -= 1));
    });
    session.setTimeout(keepAliveTimeoutMs);
    session.on("timeout", () => {
      if (streams === 0) session.close();
    });
  }
}

/** The name that the connection's certificate was chosen for. */
export function serverNameOf(socket: TLSSocket): string {
  // The types do not know that it has one.
  const { servername } = socket as TLSSocket & { servername?: string | false };
  return typeof servername === "string" ? plainName(servername) : "";
}

function plainName(serverName: string): string {
  return serverName.toLowerCase().replace(/\.$/, "");
}

/** IPv4 as people write it, also on a port that takes both. */
export function addressOf(socket: Socket): string {
  return (socket.remoteAddress ?? "").replace(/^::ffff:/, "");
}

/** What one client may be given whole: an IPv4 address, or the first half of an IPv6 one. */
export function addressBlockOf(address: string): string {
  if (!isIPv6(address)) return address;
  const [head = "", tail] = address.split("%", 1)[0]?.split("::", 2) ?? [];
  const groups = head === "" ? [] : head.split(":");
  const last = tail === undefined || tail === "" ? [] : tail.split(":");
  while (tail !== undefined && groups.length + last.length < 8) groups.push("0");
  return [...groups, ...last].slice(0, 4).join(":");
}

/** What came is not HTTP, too large or too slow; no request knows of it. */
function onBadRequest(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (socket.destroyed || !socket.writable || error.code === "ECONNRESET") {
    socket.destroy();
    return;
  }
  const { status, headers, body } = errorAnswer(badRequest(error.code), { headers: {} });
  const kept = headers.filter((_, index) => headers[index - (index % 2)] !== "content-length");
  socket.end(encodeRawResponse({ status, headers: kept, body }));
  socket.resume();
  setTimeout(() => socket.destroy(), refusedBodyMsMax).unref();
}

function badRequest(code: string | undefined): SpriteError {
  if (code === "HPE_HEADER_OVERFLOW") {
    return new SpriteError("headers_too_large", "the request's headers are too large");
  }
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") {
    return new SpriteError("invalid_request", "the request's headers did not arrive in time");
  }
  return new SpriteError("invalid_request", "this is no valid HTTP/1.1 request");
}
