import type { ResponseHead } from "../base/http/response-reader.ts";
import { SpriteError } from "../contract/errors.ts";
import type { UrlEnd } from "../contract/url-lease.ts";
import type { Downstream } from "./downstream.ts";
import { requestHeaders, responseHeaders, trailerHeaders, type Strip } from "./header-rules.ts";
import { bodyIdleMsMax, exchangeIdleMsMax } from "./limits.ts";
import type { EdgeRequest } from "./request.ts";
import type { OpenExchange, SpriteTraffic } from "./sprite-traffic.ts";
import type { UpstreamConnection, UpstreamFailure } from "./upstream/upstream-connection.ts";

/** Sent twice, they do the same as once (RFC 9110, section 9.2.2). */
const idempotentMethods: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]);

export interface ExchangeParts {
  request: EdgeRequest;
  downstream: Downstream;
  traffic: SpriteTraffic;
  strip: Strip;
}

/** One request, from the moment it is let in until its response is with the client. */
export class Exchange implements OpenExchange {
  readonly #parts: ExchangeParts;
  readonly #isRepeatable: boolean;
  readonly #done = Promise.withResolvers<number>();
  #connection: UpstreamConnection | null = null;
  #status = 0;
  #bytes = 0;
  #isRequestRead = false;
  #isRequestPaused = false;
  #isResponsePaused = false;
  #isOver = false;
  #movedAtMs = performance.now();

  constructor(parts: ExchangeParts) {
    this.#parts = parts;
    const { method, body } = parts.request;
    // Nobody may be waiting for it when it fails.
    this.#done.promise.catch(() => undefined);
    this.#isRepeatable = body === "none" && idempotentMethods.has(method);
  }

  get isAnswering(): boolean {
    return this.#status === 0;
  }

  takeBytes(): number {
    const bytes = this.#bytes;
    this.#bytes = 0;
    return bytes;
  }

  /**
   * Resolves with the status when the response is with the client, or with 0 when it is not whole.
   * @throws SpriteError what is to be answered instead
   */
  async run(): Promise<number> {
    const { traffic, downstream } = this.#parts;
    const remove = traffic.add(this);
    try {
      const connection = await traffic.connection({ isFresh: !this.#isRepeatable });
      // What came meanwhile: the client left, or the sprite went to sleep.
      if (downstream.isClosed || this.#isOver) {
        traffic.giveBack(connection);
        if (!this.#isOver) this.#finish(0);
      } else {
        downstream.onClose(() => this.#onClientGone());
        downstream.onDrain(() => this.#resumeResponse());
        this.#send(connection);
      }
      return await this.#done.promise;
    } finally {
      remove();
    }
  }

  /** Ends it when nothing moves any more, or the client keeps its request's body from us. */
  sweep(): void {
    const idleMs = performance.now() - this.#movedAtMs;
    const waitsForBody =
      !this.#isRequestRead && this.#connection !== null && !this.#isRequestPaused;
    const idleMsMax = waitsForBody && this.#status === 0 ? bodyIdleMsMax : exchangeIdleMsMax;
    if (this.#connection === null || idleMs < idleMsMax) return;
    this.#fail(new SpriteError("deadline_exceeded", "nothing has moved for too long"));
  }

  end({ reason }: UrlEnd): void {
    // One that is not there yet waits for the sprite to come back.
    if (this.#connection === null) return;
    this.#fail(new SpriteError("bad_gateway", `the sprite was gone before it answered: ${reason}`));
  }

  #send(connection: UpstreamConnection): void {
    const { request, downstream } = this.#parts;
    this.#connection = connection;
    connection.begin(
      this.#head(),
      { isHead: request.method === "HEAD", isUpgrade: false },
      {
        onContinue: () => downstream.sendContinue(),
        onHead: (head) => this.#onHead(head),
        onBody: (bytes) => this.#onResponseBytes(bytes),
        onEnd: (trailers) => this.#onResponseEnd(trailers),
        onDrain: () => this.#resumeRequest(),
        onFailure: (failure) => this.#onFailure(failure),
      },
    );
    if (request.body === "none") {
      this.#isRequestRead = true;
      connection.finish();
      return;
    }
    const isChunked = request.body === "chunked";
    downstream.readBody({
      onBytes: (bytes) => this.#onRequestBytes(bytes, isChunked),
      onEnd: () => {
        this.#isRequestRead = true;
        if (this.#isOver) return;
        if (isChunked) connection.write("0\r\n\r\n");
        connection.finish();
      },
    });
  }

  #head(): string {
    const { request, strip } = this.#parts;
    const { method, path, authority, clientAddress, body } = request;
    const headers = requestHeaders(request.headers, { authority, clientAddress, strip });
    if (body === "chunked") headers.push("transfer-encoding", "chunked");
    else if (body !== "none") headers.push("content-length", String(body.length));
    let head = `${method} ${path} HTTP/1.1\r\n`;
    for (let index = 0; index < headers.length; index += 2) {
      head += `${headers[index]}: ${headers[index + 1]}\r\n`;
    }
    return `${head}connection: keep-alive\r\n\r\n`;
  }

  #onRequestBytes(bytes: Buffer, isChunked: boolean): void {
    const connection = this.#connection;
    this.#noteMoved(bytes.length);
    // Behind an early answer it is read and dropped, so that the client comes to read that.
    if (connection === null || this.#isOver || bytes.length === 0) return;
    if (isChunked) connection.write(`${bytes.length.toString(16)}\r\n`);
    let takesMore = connection.write(bytes);
    if (isChunked) takesMore = connection.write("\r\n");
    if (takesMore) return;
    this.#isRequestPaused = true;
    this.#parts.downstream.setReading(false);
  }

  #resumeRequest(): void {
    this.#movedAtMs = performance.now();
    if (!this.#isRequestPaused) return;
    this.#isRequestPaused = false;
    this.#parts.downstream.setReading(true);
  }

  #onHead(head: ResponseHead): void {
    const { request, downstream, strip } = this.#parts;
    const { host, method } = request;
    this.#status = head.status;
    this.#noteMoved(head.headers.length);
    const headers = responseHeaders(head.headers, {
      status: head.status,
      host,
      cookies: strip.cookies,
    });
    const bodyless = method === "HEAD" || head.status === 204 || head.status === 304;
    downstream.respond(head.status, headers, { bodyless });
  }

  #onResponseBytes(bytes: Buffer): void {
    this.#noteMoved(bytes.length);
    if (this.#parts.downstream.write(bytes)) return;
    this.#isResponsePaused = true;
    this.#connection?.setReading(false);
  }

  #resumeResponse(): void {
    this.#movedAtMs = performance.now();
    if (!this.#isResponsePaused) return;
    this.#isResponsePaused = false;
    this.#connection?.setReading(true);
  }

  #onResponseEnd(trailers: readonly string[]): void {
    const { downstream } = this.#parts;
    const connection = this.#connection;
    this.#finish(this.#status);
    if (connection !== null) {
      // Its request may end in this very turn.
      if (this.#isRequestRead) queueMicrotask(() => this.#parts.traffic.giveBack(connection));
      else connection.destroy();
    }
    if (this.#isRequestPaused) downstream.setReading(true);
    downstream.end(trailerHeaders(trailers));
  }

  #onFailure({ isUnanswered, error }: UpstreamFailure): void {
    const mayRepeat = isUnanswered && this.#isRepeatable && this.#connection?.wasUsed === true;
    if (mayRepeat && !this.#isOver) {
      // Its server closed it while it was kept, which is its right; a fresh one is refused or answered.
      this.#connection = null;
      this.#parts.traffic.connection({ isFresh: true }).then(
        (connection) => {
          if (this.#isOver) this.#parts.traffic.giveBack(connection);
          else this.#send(connection);
        },
        (cause: unknown) => this.#fail(cause as Error),
      );
      return;
    }
    this.#fail(
      new SpriteError("bad_gateway", `the sprite's web server broke off: ${error.message}`, {
        cause: error,
      }),
    );
  }

  #noteMoved(bytes: number): void {
    this.#bytes += bytes;
    this.#movedAtMs = performance.now();
  }

  #onClientGone(): void {
    if (this.#isOver) return;
    this.#connection?.destroy();
    this.#finish(0);
  }

  #fail(error: Error): void {
    if (this.#isOver) return;
    this.#connection?.destroy();
    if (this.#status === 0) {
      this.#isOver = true;
      this.#done.reject(error);
      return;
    }
    this.#finish(0);
    this.#parts.downstream.abort();
  }

  #finish(status: number): void {
    this.#isOver = true;
    this.#done.resolve(status);
  }
}
