/** Hands a WebSocket handshake and everything after it to a sprite's agent, byte for byte. */

import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";

import {
  ResponseReader,
  type ResponseHandler,
  type ResponseHead,
} from "../../base/http/response-reader.ts";
import { encodeRawResponse } from "../../base/raw-response.ts";
import { SpriteError } from "../../contract/errors.ts";
import { abortReason } from "./abort-reason.ts";
import { connectAgent, type StartAgent } from "./agent-connection.ts";
import {
  responseHeaders,
  upgradeRequestHead,
  upgradeResponseHead,
  type AddedHeaders,
} from "./http-heads.ts";
import {
  agentResponseLimits,
  earlyDataSizeBytesMax,
  refusalSizeBytesMax,
  upgradeAnswerTimeoutMs,
} from "./limits.ts";
import type { Splice, SpliceEnd } from "./open-splices.ts";
import { endGently } from "./gentle-end.ts";
import { closeFrame, FrameGate } from "./websocket-frames.ts";

export interface UpgradeOptions {
  request: IncomingMessage;
  /** The client's connection, detached from the HTTP server. */
  socket: Socket;
  /** What the client sent behind its request's head. */
  head: Buffer;
  target: string;
  requestId: string;
  added: AddedHeaders;
  start: StartAgent;
  /** The client has its 101 already; whatever goes wrong is told in a close frame. */
  isAnswered?: boolean;
}

const agentEnded = {
  code: 1011,
  reason: "the sprite's agent ended unexpectedly",
} as const;

/** The agent's answer to the handshake: the switch with the first bytes behind it, or a whole refusal. */
interface HandshakeAnswer {
  head: ResponseHead;
  /** After a 101: bytes of the new protocol. Else the body. */
  bytes: Buffer;
}

export class UpgradeSplice implements Splice {
  readonly kind = "socket";
  readonly #options: UpgradeOptions;
  readonly #client: Socket;
  readonly #abort = new AbortController();
  readonly #gate = new FrameGate();
  #upstream: Socket | null = null;
  #early: Buffer[] = [];
  #earlyLength = 0;
  #open = false;
  #ended = false;

  constructor(options: UpgradeOptions) {
    this.#options = options;
    this.#client = options.socket;
  }

  /**
   * Resolves with the answer's status, when the connection was switched or the agent's refusal was
   * passed on. A refusal of our own is thrown, and nothing has been sent then.
   * @throws SpriteError
   */
  async run(): Promise<number> {
    this.#watchClient();
    if (!this.#options.isAnswered) return await this.#connect();
    try {
      return await this.#connect();
    } catch (error) {
      const reason = error instanceof SpriteError ? error.message : "internal error";
      this.#leave(agentEnded.code, reason);
      return 101;
    }
  }

  end(end: SpliceEnd): void {
    if (this.#open || this.#options.isAnswered) this.#leave(end.code, end.reason);
    if (!this.#open) this.#abort.abort(end.error);
  }

  async #connect(): Promise<number> {
    const upstream = await connectAgent(this.#options.start, this.#abort.signal);
    this.#upstream = upstream;
    upstream.on("error", () => upstream.destroy());
    try {
      upstream.write(upgradeRequestHead(this.#options.request, this.#options), "latin1");
      const answer = await readHandshakeAnswer(upstream, this.#abort.signal);
      if (answer.head.status === 101) this.#join(upstream, answer);
      else this.#refuse(upstream, answer);
      return answer.head.status;
    } catch (error) {
      upstream.destroy();
      throw error;
    }
  }

  /** Until the switch: a client that leaves stops the wait, bytes that come early are kept. */
  #watchClient(): void {
    const client = this.#client;
    const gone = (): void => {
      if (this.#open) this.#upstream?.destroy();
      else this.#abort.abort(new SpriteError("unavailable", "the client closed the connection"));
    };
    client.on("error", () => client.destroy());
    client.on("close", gone);
    client.on("end", () => {
      if (this.#open) this.#upstream?.end();
      else gone();
    });
    client.on("data", (bytes: Buffer) => this.#onClientData(bytes));
    if (this.#options.head.length > 0) this.#onClientData(this.#options.head);
  }

  #onClientData(bytes: Buffer): void {
    const upstream = this.#upstream;
    if (this.#open && upstream !== null) {
      if (!upstream.write(bytes)) this.#client.pause();
      return;
    }
    this.#early.push(bytes);
    this.#earlyLength += bytes.length;
    if (this.#earlyLength > earlyDataSizeBytesMax) this.#client.pause();
  }

  #join(upstream: Socket, answer: HandshakeAnswer): void {
    const client = this.#client;
    this.#open = true;
    client.setNoDelay(true);
    if (!this.#options.isAnswered) {
      client.write(upgradeResponseHead(answer.head, this.#options.added), "latin1");
    }
    upstream.on("data", (bytes: Buffer) => this.#onUpstreamData(bytes));
    upstream.on("drain", () => client.resume());
    upstream.on("end", () => this.#onUpstreamEnd());
    upstream.on("close", () => this.#onUpstreamEnd());
    client.on("drain", () => upstream.resume());
    for (const bytes of this.#early) this.#onClientData(bytes);
    this.#early = [];
    if (answer.bytes.length > 0) this.#onUpstreamData(answer.bytes);
    if (!upstream.writableNeedDrain) client.resume();
    if (upstream.destroyed) this.#onUpstreamEnd();
    upstream.resume();
  }

  #onUpstreamData(bytes: Buffer): void {
    if (this.#ended) return;
    const released = this.#gate.push(bytes);
    const only = released[0];
    if (only === undefined) return;
    const client = this.#client;
    let flowing = true;
    if (released.length === 1) {
      flowing = client.write(only);
    } else {
      client.cork();
      for (const part of released) flowing = client.write(part);
      client.uncork();
    }
    if (!flowing) this.#upstream?.pause();
  }

  /**
   * What the agent sent is all through. Without a close frame it has died, and the client is owed
   * the reason.
   */
  #onUpstreamEnd(): void {
    if (this.#ended) return;
    if (!this.#gate.closeSeen) {
      this.#leave(agentEnded.code, agentEnded.reason);
      return;
    }
    this.#ended = true;
    endGently(this.#client);
    this.#upstream?.end();
  }

  #leave(code: SpliceEnd["code"], reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#upstream?.destroy();
    if (this.#gate.closeSeen) endGently(this.#client);
    else if (this.#gate.atBoundary) endGently(this.#client, closeFrame(code, reason));
    // Inside of a frame nothing can be said: a close frame would read as that frame's payload.
    else this.#client.destroy();
  }

  #refuse(upstream: Socket, answer: HandshakeAnswer): void {
    upstream.destroy();
    if (this.#options.isAnswered) {
      this.#leave(agentEnded.code, "the sprite's agent refused the connection");
      return;
    }
    const { head, bytes } = answer;
    const headers = withoutLength(responseHeaders(head, this.#options.added));
    endGently(this.#client, encodeRawResponse({ status: head.status, headers, body: bytes }));
  }
}

function withoutLength(headers: readonly string[]): string[] {
  return headers.filter(
    (_, index) => headers[index - (index % 2)]?.toLowerCase() !== "content-length",
  );
}

/** @throws SpriteError deadline_exceeded, unavailable, and the reason of the signal */
function readHandshakeAnswer(upstream: Socket, signal: AbortSignal): Promise<HandshakeAnswer> {
  return new Promise((resolve, reject) => {
    const body: Buffer[] = [];
    let bodyLength = 0;
    let head: ResponseHead | null = null;
    const timer = setTimeout(() => {
      const message = "the sprite's agent did not answer the handshake in time";
      settle(() => reject(new SpriteError("deadline_exceeded", message)));
    }, upgradeAnswerTimeoutMs);

    const settle = (act: () => void): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
      upstream.off("data", onData);
      upstream.off("end", onEnd);
      upstream.off("close", onEnd);
      upstream.pause();
      act();
    };
    const fail = (cause?: unknown): void => {
      const message = "the sprite's agent ended before it answered; try again";
      settle(() => reject(new SpriteError("unavailable", message, { cause })));
    };
    const finish = (answeredHead: ResponseHead | null, bytes: Buffer): void => {
      if (answeredHead === null) fail();
      else settle(() => resolve({ head: answeredHead, bytes }));
    };
    const handler: ResponseHandler = {
      onHead: (value) => (head = value),
      onBody: (bytes) => {
        body.push(bytes);
        bodyLength += bytes.length;
        if (bodyLength > refusalSizeBytesMax) fail(new Error("the refusal is too long"));
      },
      onEnd: () => finish(head, Buffer.concat(body)),
      onUpgrade: finish,
    };
    const limits = agentResponseLimits;
    const reader = new ResponseReader(handler, { isHead: false, isUpgrade: true, limits });
    const onAbort = (): void => settle(() => reject(abortReason(signal)));
    const onEnd = (): void => {
      if (!reader.end()) fail();
    };
    const onData = (bytes: Buffer): void => {
      try {
        reader.push(bytes);
      } catch (error) {
        fail(error);
      }
    };
    if (signal.aborted) return onAbort();
    signal.addEventListener("abort", onAbort, { once: true });
    upstream.on("data", onData);
    upstream.on("end", onEnd);
    upstream.on("close", onEnd);
  });
}
