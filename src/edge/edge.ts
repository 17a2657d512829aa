/** The sprites' URLs: from a connection on the TLS port to the web server inside a sprite. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import type { Duplex } from "node:stream";
import { TLSSocket } from "node:tls";

import { assert } from "../base/assert.ts";
import type { Log } from "../base/log.ts";
import { encodeRawResponse } from "../base/raw-response.ts";
import { SpriteError } from "../contract/errors.ts";
import type { CertificateSource } from "./certificates.ts";
import { Exchange } from "./exchange.ts";
import type { GateAnswer, Gatekeeper } from "./gatekeeper.ts";
import type { Strip } from "./header-rules.ts";
import { nameHost } from "./host-name.ts";
import { Http1Downstream } from "./http1.ts";
import { Http2Downstream } from "./http2.ts";
import type { Downstream } from "./downstream.ts";
import { refusedBodyMsMax, stopGraceMs } from "./limits.ts";
import { errorAnswer, type EdgeAnswer } from "./pages.ts";
import { readHttp1Request, readHttp2Request, type EdgeRequest } from "./request.ts";
import { SpriteTraffic } from "./sprite-traffic.ts";
import type { SpriteDirectory } from "./sprites.ts";
import { addressOf, serverNameOf, TlsPort, type TlsPortHandlers } from "./tls-port.ts";
import { http1WebSocketClient, http2WebSocketClient } from "./web-socket-clients.ts";
import { WebSocketExchange, type WebSocketClient } from "./web-socket.ts";

export interface EdgeOptions {
  listen: { host: string; port: number };
  /** Sprites' URLs are `https://<name>-<org short id>.<domain>`; the API is at the domain itself and at `api.` below it. */
  domain: string;
  certificates: CertificateSource;
  gatekeeper: Gatekeeper;
  sprites: SpriteDirectory;
  /** Takes a connection for the API. */
  serveApi(socket: TLSSocket): void;
  /** See limits.ts when absent. */
  headersTimeoutMs?: number;
  /** A request has been answered to the end, a WebSocket (101) has closed. */
  onAnswered?: (answer: { status: number; seconds: number }) => void;
  log: Log;
}

/** A request that may go to its sprite. */
interface Admitted {
  request: EdgeRequest;
  traffic: SpriteTraffic;
  strip: Strip;
}

/** Answered by somebody else than the sprite. */
class OtherAnswer extends Error {
  readonly answer: GateAnswer;

  constructor(answer: GateAnswer) {
    super("the gatekeeper answers");
    this.answer = answer;
  }
}

export class Edge {
  readonly #options: EdgeOptions;
  readonly #domain: string;
  readonly #port: TlsPort;
  readonly #traffic = new Map<string, SpriteTraffic>();
  #isStopping = false;

  constructor(options: EdgeOptions) {
    this.#options = options;
    this.#domain = options.domain.toLowerCase();
    const handlers: TlsPortHandlers = {
      isForApi: (serverName) => nameHost(serverName, this.#domain).kind === "api",
      onApiConnection: (socket) => options.serveApi(socket),
      onRequest: (request, response) => void this.#onRequest(request, response),
      onUpgrade: (request, socket, head) => void this.#onUpgrade(request, socket, head),
      onStream: (stream, headers, raw) => void this.#onStream(stream, headers, raw),
      onCertificateError: (serverName, err) =>
        options.log.error({ serverName, err }, "certificate"),
    };
    const limits = { headersMs: options.headersTimeoutMs };
    this.#port = new TlsPort(options.certificates, handlers, limits);
  }

  /** The address that is served. */
  async start(): Promise<{ host: string; port: number }> {
    const { address, port } = await this.#port.listen(this.#options.listen);
    return { host: address, port };
  }

  /** WebSockets get their goodbye, answers under way a moment to end. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    const closed = this.#port.stop(stopGraceMs);
    for (const traffic of this.#traffic.values()) traffic.close("the server is stopping");
    this.#traffic.clear();
    await closed;
  }

  async #onRequest(raw: IncomingMessage, response: ServerResponse): Promise<void> {
    const downstream = new Http1Downstream(raw, response);
    await this.#serve(raw.headers, downstream, () => {
      const isOldVersion = raw.httpVersion === "1.0";
      const { method = "", url = "", rawHeaders, headers } = raw;
      const message = { method, url, rawHeaders, headers, isOldVersion };
      return readHttp1Request(message, { ...connectionOf(raw.socket), isUpgrade: false });
    });
  }

  async #onStream(
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    raw: readonly string[],
  ): Promise<void> {
    const { ":method": method = "", ":protocol": protocol } = headers;
    const isUpgrade = method === "CONNECT" && protocol === "websocket";
    const downstream = new Http2Downstream(stream, { isHead: method === "HEAD" });
    const read = (): EdgeRequest => {
      const socket = stream.session?.socket;
      if (socket === undefined) throw new SpriteError("invalid_request", "the connection is gone");
      const regular = raw.filter((_, index) => !(raw[index - (index % 2)] ?? "").startsWith(":"));
      const pseudo = {
        method: isUpgrade ? "GET" : method,
        path: headers[":path"] ?? "",
        authority: headers[":authority"],
      };
      const message = {
        ...{ pseudo, headers: regular, parsedHeaders: headers },
        hasBody: !isUpgrade && !stream.endAfterHeaders,
      };
      return readHttp2Request(message, { ...connectionOf(socket), isUpgrade });
    };
    if (!isUpgrade) return await this.#serve(headers, downstream, read);
    await this.#serveWebSocket(read, {
      client: () => http2WebSocketClient(stream),
      refuse: (error) => sendAnswer(downstream, answerFor(error, headers)),
    });
  }

  async #onUpgrade(raw: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const read = (): EdgeRequest => {
      const { method = "", url = "", rawHeaders, headers } = raw;
      const message = { method, url, rawHeaders, headers, isOldVersion: false };
      const request = readHttp1Request(message, { ...connectionOf(raw.socket), isUpgrade: true });
      const isHandshake = method === "GET" && request.body === "none";
      if (isHandshake) return request;
      throw new SpriteError("invalid_request", "a WebSocket's handshake is a GET without a body");
    };
    await this.#serveWebSocket(read, {
      client: () => http1WebSocketClient(socket, head),
      refuse: (error) => endWith(socket, answerFor(error, raw.headers)),
    });
  }

  async #serve(
    headers: IncomingHttpHeaders,
    downstream: Downstream,
    read: () => EdgeRequest,
  ): Promise<void> {
    await this.#answer(read, {
      pass: (admitted) => new Exchange({ ...admitted, downstream }).run(),
      refuse: (error) => sendAnswer(downstream, answerFor(error, headers)),
    });
  }

  async #serveWebSocket(
    read: () => EdgeRequest,
    { client, refuse }: { client: () => WebSocketClient; refuse: (error: unknown) => void },
  ): Promise<void> {
    await this.#answer(read, {
      pass: (admitted) => new WebSocketExchange({ ...admitted, client: client() }).run(),
      refuse,
    });
  }

  /** Answered by the sprite (`pass` gives the status), or by us with what is wrong. */
  async #answer(
    read: () => EdgeRequest,
    parts: { pass: (admitted: Admitted) => Promise<number>; refuse: (error: unknown) => void },
  ): Promise<void> {
    const startMs = performance.now();
    let request: EdgeRequest | null = null;
    let status: number;
    try {
      request = read();
      status = await parts.pass({ request, ...(await this.#admit(request)) });
    } catch (error) {
      status = this.#noteError(error, request);
      parts.refuse(error);
    }
    this.#noteRequest(request, status, startMs);
  }

  /** The sprite's traffic, if the client may be part of it. @throws SpriteError, OtherAnswer */
  async #admit(request: EdgeRequest): Promise<{ traffic: SpriteTraffic; strip: Strip }> {
    if (this.#isStopping) throw new SpriteError("unavailable", "the server is stopping");
    const { gatekeeper, sprites } = this.#options;
    const named = nameHost(request.host, this.#domain);
    const sprite =
      named.kind === "sprite" ? sprites.find(named.name, named.organizationShortId) : null;
    const { method, authority, path, parsedHeaders, isUpgrade, clientAddress } = request;
    const decision = await gatekeeper.admit({
      ...{ method, path, isUpgrade, clientAddress, sprite },
      ...{ host: authority, headers: parsedHeaders },
    });
    if (!decision.admitted) throw new OtherAnswer(decision.answer);
    if (sprite === null) throw new SpriteError("not_found", "no sprite has this address");
    const { strip } = decision;
    const known = this.#traffic.get(sprite.id);
    if (known !== undefined) return { traffic: known, strip };
    const traffic = new SpriteTraffic({
      ...{ sprite, directory: sprites },
      onIdle: () => {
        this.#traffic.delete(sprite.id);
        traffic.close("nobody asks for it");
      },
    });
    this.#traffic.set(sprite.id, traffic);
    return { traffic, strip };
  }

  /** The status that is answered. */
  #noteError(error: unknown, request: EdgeRequest | null): number {
    if (error instanceof OtherAnswer) return error.answer.status;
    if (error instanceof SpriteError) return error.status;
    this.#options.log.error({ err: error, host: request?.host }, "serve a URL");
    return 500;
  }

  /** The query stays out: it may hold what only its owner is to know. */
  #noteRequest(request: EdgeRequest | null, status: number, startMs: number): void {
    const { log, onAnswered } = this.#options;
    onAnswered?.({ status, seconds: (performance.now() - startMs) / 1_000 });
    if (!log.isLevelEnabled("debug") || request === null) return;
    const { method, host, path } = request;
    const ms = Math.round((performance.now() - startMs) * 100) / 100;
    log.debug({ method, host, path: path.split("?", 1)[0]?.slice(0, 512), status, ms }, "url");
  }
}

function connectionOf(socket: unknown): { serverName: string; clientAddress: string } {
  assert(socket instanceof TLSSocket || isProxied(socket), "a request comes over TLS");
  return { serverName: serverNameOf(socket), clientAddress: addressOf(socket) };
}

/** A session's socket is a proxy of the real one. */
function isProxied(socket: unknown): socket is TLSSocket {
  return typeof socket === "object" && socket !== null && "servername" in socket;
}

function answerFor(error: unknown, headers: IncomingHttpHeaders): EdgeAnswer {
  if (!(error instanceof OtherAnswer)) return errorAnswer(error, { headers });
  const { status, headers: given, body } = error.answer;
  const list: string[] = [];
  for (const [name, value] of Object.entries(given)) {
    for (const one of [value].flat()) list.push(name.toLowerCase(), one);
  }
  const bytes = Buffer.from(body);
  list.push("content-length", String(bytes.length));
  return { status, headers: list, body: bytes };
}

function sendAnswer(downstream: Downstream, { status, headers, body }: EdgeAnswer): void {
  if (downstream.isClosed) return;
  downstream.respond(status, headers, { bodyless: false });
  if (body.length > 0) downstream.write(body);
  downstream.end([]);
}

/** On a socket that has left the HTTP server. */
function endWith(socket: Duplex, { status, headers, body }: EdgeAnswer): void {
  if (socket.destroyed) return;
  const kept = headers.filter((_, index) => headers[index - (index % 2)] !== "content-length");
  socket.end(encodeRawResponse({ status, headers: kept, body }));
  socket.resume();
  const timer = setTimeout(() => socket.destroy(), refusedBodyMsMax);
  socket.once("close", () => clearTimeout(timer));
}
