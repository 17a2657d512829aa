/** Hands a plain HTTP request to a sprite's agent and streams the answer back, chunk by chunk. */

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";

import {
  ResponseReader,
  type ResponseHandler,
  type ResponseHead,
} from "../../base/http/response-reader.ts";
import { SpriteError } from "../../contract/errors.ts";
import { abortReason } from "./abort-reason.ts";
import { connectAgent, type StartAgent } from "./agent-connection.ts";
import {
  hasChunkedBody,
  plainRequestHead,
  responseHeaders,
  type AddedHeaders,
} from "./http-heads.ts";
import { agentResponseLimits, closeTimeoutMs, execChunkGapMs } from "./limits.ts";
import { PacedWriter } from "./paced-writer.ts";
import { PooledReads } from "./pooled-reads.ts";
import type { Splice, SpliceEnd } from "./open-splices.ts";

export interface PlainOptions {
  request: IncomingMessage;
  response: ServerResponse;
  target: string;
  requestId: string;
  added: AddedHeaders;
  start: StartAgent;
  /** HTTP exec: chunks must arrive one by one. */
  keepsChunksApart: boolean;
  /** The answer may be a large file: it is read into memory that is used again. */
  isBulk: boolean;
  /** The client waits for `100 Continue` before it sends the body. */
  expectsContinue: boolean;
}

export class PlainSplice implements Splice {
  readonly kind = "answer";
  readonly #options: PlainOptions;
  readonly #abort = new AbortController();
  #upstream: Socket | null = null;
  #receive: (bytes: Buffer, free: () => void) => void = (_, free) => free();

  constructor(options: PlainOptions) {
    this.#options = options;
  }

  /**
   * Resolves when the answer was passed on, or broken off if the agent broke it off. What went
   * wrong before the answer began is thrown.
   * @throws SpriteError
   */
  async run(): Promise<void> {
    const { request, response } = this.#options;
    const onClose = (): void => {
      this.#abort.abort(new SpriteError("unavailable", "the client closed the connection"));
      this.#upstream?.destroy();
    };
    response.once("close", onClose);
    try {
      const reads = this.#options.isBulk
        ? new PooledReads((bytes, free) => this.#receive(bytes, free))
        : null;
      const upstream = await connectAgent(this.#options.start, this.#abort.signal, reads);
      this.#upstream = upstream;
      upstream.on("error", () => upstream.destroy());
      upstream.write(plainRequestHead(request, this.#options), "latin1");
      if (this.#options.expectsContinue) response.writeContinue();
      const stopSending = sendBody(request, upstream);
      await this.#relayAnswer(upstream);
      stopSending();
    } finally {
      response.off("close", onClose);
      this.#upstream?.destroy();
      dropRestOfBody(request, response);
    }
  }

  end(end: SpliceEnd): void {
    const { response } = this.#options;
    if (response.writableEnded) return;
    this.#abort.abort(end.error);
    // Too late for an error: a stream that is cut off must not look finished.
    if (response.headersSent) response.destroy();
  }

  #relayAnswer(upstream: Socket): Promise<void> {
    const { response, keepsChunksApart } = this.#options;
    const gapMs = keepsChunksApart ? execChunkGapMs : 0;
    return new Promise((resolve, reject) => {
      let headReceived = false;
      const paced = new PacedWriter(response, { gapMs, onIdle: () => upstream.resume() });
      /** What of the read that is being passed on is not written yet. */
      let lent: Lent | null = null;
      const write = (bytes: Buffer): boolean => {
        if (keepsChunksApart) return paced.write(bytes);
        const current = lent;
        if (current === null) return response.write(bytes);
        current.uses += 1;
        return response.write(bytes, () => giveBack(current));
      };
      const fail = (cause?: unknown): void => {
        this.#abort.signal.removeEventListener("abort", onAbort);
        upstream.destroy();
        paced.cancel();
        if (headReceived) {
          response.destroy();
          resolve();
        } else {
          reject(this.#abort.signal.aborted ? abortReason(this.#abort.signal) : unanswered(cause));
        }
      };
      const onAbort = (): void => fail();
      const handler: ResponseHandler = {
        onHead: (head) => {
          this.#writeHead(head);
          headReceived = true;
        },
        // One write is one chunk on the wire, as it was one chunk on the agent's side.
        onBody: (bytes) => {
          if (!write(bytes)) upstream.pause();
        },
        onEnd: () => {
          this.#abort.signal.removeEventListener("abort", onAbort);
          (keepsChunksApart ? paced : response).end();
          resolve();
        },
      };
      const isHead = this.#options.request.method === "HEAD";
      const limits = agentResponseLimits;
      const reader = new ResponseReader(handler, { isHead, isUpgrade: false, limits });
      response.on("drain", () => upstream.resume());
      const receive = (bytes: Buffer): void => {
        try {
          reader.push(bytes);
          if (headReceived && !response.writableEnded) response.flushHeaders();
        } catch (error) {
          fail(error);
        }
      };
      upstream.on("data", receive);
      this.#receive = (bytes, free) => {
        const current = { uses: 1, free };
        lent = current;
        receive(bytes);
        lent = null;
        // What waits for more would be overwritten: this buffer does not come back.
        if (!reader.holdsBytes) giveBack(current);
      };
      const onEnd = (): void => {
        if (!reader.end()) fail();
      };
      upstream.on("end", onEnd);
      upstream.on("close", onEnd);
      this.#abort.signal.addEventListener("abort", onAbort, { once: true });
      if (this.#abort.signal.aborted || upstream.destroyed) fail();
    });
  }

  #writeHead(head: ResponseHead): void {
    const headers = responseHeaders(head, this.#options.added);
    this.#options.response.writeHead(head.status, head.statusText, headers);
  }
}

interface Lent {
  uses: number;
  free: () => void;
}

function giveBack(lent: Lent): void {
  lent.uses -= 1;
  if (lent.uses === 0) lent.free();
}

function unanswered(cause: unknown): SpriteError {
  const message = "the sprite's agent ended before it answered; try again";
  return new SpriteError("unavailable", message, { cause });
}

/** Streams the request's body to the agent. Returns a function that stops this. */
function sendBody(request: IncomingMessage, upstream: Socket): () => void {
  const chunked = hasChunkedBody(request);
  const onData = (bytes: Buffer): void => {
    if (!(chunked ? writeChunk(upstream, bytes) : upstream.write(bytes))) request.pause();
  };
  const onEnd = (): void => {
    if (chunked) upstream.write("0\r\n\r\n");
  };
  // A body that stops halfway must not look whole to the agent.
  const onClose = (): void => {
    if (!request.complete) upstream.destroy();
  };
  upstream.on("drain", () => request.resume());
  request.on("data", onData);
  request.on("end", onEnd);
  request.on("close", onClose);
  return () => {
    request.off("data", onData);
    request.off("end", onEnd);
    request.off("close", onClose);
  };
}

function writeChunk(upstream: Socket, bytes: Buffer): boolean {
  upstream.cork();
  upstream.write(`${bytes.length.toString(16)}\r\n`);
  upstream.write(bytes);
  const flowing = upstream.write("\r\n");
  upstream.uncork();
  return flowing;
}

/** Answered early: what the client still sends is dropped, for a while. */
export function dropRestOfBody(request: IncomingMessage, response: ServerResponse): void {
  if (request.complete || request.destroyed) return;
  request.resume();
  const drop = (): void => {
    if (request.complete) return;
    const timer = setTimeout(() => request.destroy(), closeTimeoutMs);
    request.once("close", () => clearTimeout(timer));
  };
  if (response.writableFinished) drop();
  else response.once("finish", drop);
}
