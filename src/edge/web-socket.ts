import type { Socket } from "node:net";
import type { Duplex } from "node:stream";

import type { ResponseHead } from "../base/http/response-reader.ts";
import { SpriteError } from "../contract/errors.ts";
import type { UrlEnd } from "../contract/url-lease.ts";
import { closeFrame, FramePosition } from "./frame-position.ts";
import { requestHeaders, responseHeaders, type Strip } from "./header-rules.ts";
import {
  bodyIdleMsMax,
  handshakeAnswerMsMax,
  refusedBodyMsMax,
  webSocketCloseMsMax,
} from "./limits.ts";
import type { EdgeRequest } from "./request.ts";
import type { OpenExchange, SpriteTraffic } from "./sprite-traffic.ts";
import type { UpstreamConnection } from "./upstream/upstream-connection.ts";

/** A client that asks for a WebSocket, of either version of HTTP. */
export interface WebSocketClient {
  readonly stream: Duplex;
  /** Headers of the handshake that the sprite gets beside the client's own. */
  readonly handshake: readonly string[];
  /** @throws SpriteError bad_gateway: it is no answer to the handshake */
  accept(headers: readonly string[]): void;
  /** The sprite answers with something else; its body follows on the stream. */
  refuse(status: number, headers: readonly string[]): void;
}

export interface WebSocketParts {
  request: EdgeRequest;
  client: WebSocketClient;
  traffic: SpriteTraffic;
  strip: Strip;
}

/** One WebSocket: its handshake, then bytes both ways until either side ends. Frames are not looked into. */
export class WebSocketExchange implements OpenExchange {
  readonly #parts: WebSocketParts;
  readonly #done = Promise.withResolvers<number>();
  readonly #toClient = new FramePosition();
  #connection: UpstreamConnection | null = null;
  #inside: Socket | null = null;
  #bytes = 0;
  #isAnswered = false;
  #isOver = false;
  readonly #startedAtMs = performance.now();

  constructor(parts: WebSocketParts) {
    this.#parts = parts;
    this.#done.promise.catch(() => undefined);
  }

  get isAnswering(): boolean {
    return !this.#isAnswered;
  }

  takeBytes(): number {
    const bytes = this.#bytes;
    this.#bytes = 0;
    return bytes;
  }

  /** Resolves with the handshake's status when it is over. @throws SpriteError what is to be answered instead */
  async run(): Promise<number> {
    const { traffic, client } = this.#parts;
    const remove = traffic.add(this);
    try {
      const connection = await traffic.connection({ isFresh: true });
      this.#connection = connection;
      client.stream.once("close", () => this.#onClientGone());
      if (client.stream.destroyed) this.#onClientGone();
      else if (this.#isOver) connection.destroy();
      else this.#begin(connection);
      return await this.#done.promise;
    } finally {
      remove();
    }
  }

  sweep(): void {
    const isLate = performance.now() - this.#startedAtMs >= handshakeAnswerMsMax;
    if (!isLate || this.#isAnswered || this.#isOver) return;
    this.#fail(new SpriteError("bad_gateway", "no answer to the handshake"));
  }

  /** 1001: the other side goes away, and the client may come again. */
  end({ reason }: UrlEnd): void {
    if (this.#connection === null) return;
    if (!this.#isAnswered) {
      this.#fail(new SpriteError("bad_gateway", `the sprite was gone: ${reason}`));
      return;
    }
    const { stream } = this.#parts.client;
    this.#connection.socket.destroy();
    if (stream.destroyed) return;
    if (this.#inside === null || !this.#toClient.isBetweenFrames) {
      stream.destroy();
      return;
    }
    stream.end(closeFrame(1001, `the sprite went away: ${reason}`));
    stream.resume();
    destroyAfter(stream, webSocketCloseMsMax);
  }

  #begin(connection: UpstreamConnection): void {
    connection.begin(
      this.#head(),
      { isHead: false, isUpgrade: true },
      {
        onUpgrade: (head, rest) => this.#onUpgrade(head, rest),
        onHead: (head) => this.#onOtherAnswer(head),
        onBody: (bytes) => {
          if (!this.#parts.client.stream.write(bytes)) connection.setReading(false);
        },
        onEnd: () => {
          endSoon(this.#parts.client.stream);
          connection.destroy();
        },
        onDrain: () => undefined,
        onFailure: ({ error }) => {
          this.#fail(new SpriteError("bad_gateway", `the web server broke off: ${error.message}`));
        },
      },
    );
    connection.finish();
  }

  #head(): string {
    const { request, strip, client } = this.#parts;
    const { path, authority, clientAddress } = request;
    const headers = requestHeaders(request.headers, { authority, clientAddress, strip });
    headers.push(...client.handshake, "connection", "Upgrade", "upgrade", "websocket");
    let head = `GET ${path} HTTP/1.1\r\n`;
    for (let index = 0; index < headers.length; index += 2) {
      head += `${headers[index]}: ${headers[index + 1]}\r\n`;
    }
    return `${head}\r\n`;
  }

  #onUpgrade(head: ResponseHead, rest: Buffer): void {
    const { client, request, strip } = this.#parts;
    const inside = this.#connection?.socket;
    if (inside === undefined) return;
    const { host } = request;
    try {
      client.accept(
        responseHeaders(head.headers, { status: head.status, host, cookies: strip.cookies }),
      );
    } catch (error) {
      this.#fail(error as Error);
      return;
    }
    this.#isAnswered = true;
    this.#inside = inside;
    this.#join(client.stream, inside);
    if (rest.length > 0) inside.unshift(rest);
  }

  #join(stream: Duplex, inside: Socket): void {
    inside.on("data", (bytes: Buffer) => {
      this.#bytes += bytes.length;
      this.#toClient.push(bytes);
      if (!stream.write(bytes)) inside.pause();
    });
    stream.on("drain", () => inside.resume());
    stream.on("data", (bytes: Buffer) => {
      this.#bytes += bytes.length;
      if (!inside.destroyed && !inside.write(bytes)) stream.pause();
    });
    inside.on("drain", () => stream.resume());
    inside.once("end", () => stream.end());
    stream.once("end", () => {
      inside.end();
      // It has left; the sprite's last words are for nobody, after a moment.
      destroyAfter(stream, refusedBodyMsMax);
    });
    inside.on("error", () => inside.destroy());
    inside.once("close", () => {
      // What it sent still reaches the client.
      if (stream.writableFinished) stream.destroy();
      else if (!stream.writableEnded) stream.end();
      destroyAfter(stream, webSocketCloseMsMax);
    });
    stream.resume();
    inside.resume();
  }

  #onOtherAnswer(head: ResponseHead): void {
    const { client, request, strip } = this.#parts;
    this.#isAnswered = true;
    const { host } = request;
    client.stream.on("drain", () => this.#connection?.setReading(true));
    client.stream.resume();
    client.refuse(
      head.status,
      responseHeaders(head.headers, { status: head.status, host, cookies: strip.cookies }),
    );
  }

  #onClientGone(): void {
    this.#isOver = true;
    this.#connection?.destroy();
    this.#done.resolve(this.#inside === null ? 0 : 101);
  }

  #fail(error: Error): void {
    this.#isOver = true;
    this.#connection?.destroy();
    if (this.#isAnswered) this.#parts.client.stream.destroy();
    this.#done.reject(error);
  }
}

/** A client that does not end its half would keep its place among the sprite's requests for ever; one that is slow is waited for. */
function endSoon(stream: Duplex): void {
  stream.once("finish", () => destroyAfter(stream, webSocketCloseMsMax));
  stream.end();
  stream.resume();
  destroyAfter(stream, bodyIdleMsMax);
}

function destroyAfter(stream: Duplex, ms: number): void {
  const timer = setTimeout(() => stream.destroy(), ms);
  stream.once("close", () => clearTimeout(timer));
}
