import { Agent as PlainAgent, request as plainRequest, type IncomingMessage } from "node:http";
import { Agent as TlsAgent, request as tlsRequest } from "node:https";
import type { Readable } from "node:stream";
import { connectionIdleMsMax, connectionsMax, preparedSizeBytesMax } from "../limits.ts";

export type Body = Uint8Array | { sizeBytes: number; open: () => Readable };

export interface HttpRequest {
  method: string;
  /** With the query, as it goes out. */
  path: string;
  headers: Readonly<Record<string, string>>;
  body: Body | null;
  signal: AbortSignal | undefined;
}

/** A request that got no whole reply. */
export class ExchangeError extends Error {
  override readonly name = "ExchangeError";
  /** True when the server cannot have seen the request, since there was no connection. */
  readonly isUnsent: boolean;

  constructor(message: string, options: { isUnsent: boolean; cause?: unknown }) {
    super(message, { cause: options.cause });
    this.isUnsent = options.isUnsent;
  }
}

/** Status and headers have come; the body is still on its way. Exactly one of `body` and `discard` is called. */
export interface Reply {
  status: number;
  header(name: string): string | null;
  /** @throws ExchangeError when it ends early, or is longer than allowed */
  body(options?: BodyOptions): Promise<Buffer>;
  discard(): void;
}

export interface BodyOptions {
  sizeBytesMax?: number | undefined;
  /** Filled and answered with when the body says its length and fits. */
  into?: Uint8Array | undefined;
}

/** Connections to one server, kept for the next request. */
export class HttpExchange {
  readonly #origin: { protocol: string; hostname: string; port: number };
  readonly #agent: PlainAgent;
  readonly #request: typeof plainRequest;
  readonly #idleMsMax: number;

  constructor(
    origin: { protocol: "http:" | "https:"; hostname: string; port: number },
    options: { idleMsMax?: number } = {},
  ) {
    const { protocol, hostname, port } = origin;
    this.#origin = { protocol, hostname, port };
    const agentOptions = { keepAlive: true, maxSockets: connectionsMax };
    const isTls = protocol === "https:";
    this.#agent = isTls ? new TlsAgent(agentOptions) : new PlainAgent(agentOptions);
    this.#request = isTls ? tlsRequest : plainRequest;
    this.#idleMsMax = options.idleMsMax ?? connectionIdleMsMax;
  }

  /** Sends and waits for status and headers. @throws ExchangeError; the signal's reason when it is aborted */
  send({ method, path, headers, body, signal }: HttpRequest): Promise<Reply> {
    return new Promise((resolve, reject) => {
      let isConnected = false;
      const sizeBytes =
        body === null ? 0 : body instanceof Uint8Array ? body.length : body.sizeBytes;
      const needsLength = body !== null || method === "PUT" || method === "POST";
      const call = this.#request({
        ...this.#origin,
        agent: this.#agent,
        method,
        path,
        headers: needsLength ? { ...headers, "content-length": String(sizeBytes) } : headers,
        ...(signal && { signal }),
      });
      call.on("socket", (socket) => {
        if (socket.connecting) socket.once("connect", () => (isConnected = true));
        else isConnected = true;
      });
      call.setTimeout(this.#idleMsMax, () => {
        call.destroy(new Error(`nothing moved for ${this.#idleMsMax} ms`));
      });
      call.on("response", (reply) => resolve(replyOf(reply, signal)));
      call.on("error", (error) => {
        if (signal?.aborted) reject(signal.reason as Error);
        else reject(new ExchangeError(error.message, { isUnsent: !isConnected, cause: error }));
      });
      if (body === null || body instanceof Uint8Array) call.end(body ?? undefined);
      else sendStream(body.open(), call);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

function sendStream(source: Readable, call: ReturnType<typeof plainRequest>): void {
  source.on("error", (error) => call.destroy(error));
  call.on("close", () => source.destroy());
  source.pipe(call);
}

function replyOf(reply: IncomingMessage, signal: AbortSignal | undefined): Reply {
  // An error may come before anybody asks for the body.
  let failure: Error | null = null;
  reply.on("error", (error) => (failure = error));
  return {
    status: reply.statusCode ?? 0,
    header: (name) => {
      const value = reply.headers[name];
      return typeof value === "string" ? value : null;
    },
    discard: () => void reply.destroy(),
    body: async (options = {}) => {
      try {
        if (failure !== null) throw failure;
        return await bodyOf(reply, options);
      } catch (error) {
        if (signal?.aborted) throw signal.reason;
        if (error instanceof ExchangeError) throw error;
        const message = `the reply ended early: ${error instanceof Error ? error.message : String(error)}`;
        throw new ExchangeError(message, { isUnsent: false, cause: error });
      }
    },
  };
}

/** As long as `content-length` says: a proxy may close a connection in the middle and call it the end. */
async function bodyOf(
  reply: IncomingMessage,
  { sizeBytesMax = Infinity, into }: BodyOptions,
): Promise<Buffer> {
  const declared = Number(reply.headers["content-length"] ?? Number.NaN);
  const whole = prepare(declared, into);
  const pieces: Buffer[] = [];
  let sizeBytes = 0;
  for await (const piece of reply as AsyncIterable<Buffer>) {
    if (sizeBytes + piece.length > sizeBytesMax) {
      throw new ExchangeError(`the reply is longer than ${sizeBytesMax} bytes`, {
        isUnsent: false,
      });
    }
    if (whole === null) pieces.push(piece);
    else piece.copy(whole, sizeBytes);
    sizeBytes += piece.length;
  }
  if (!Number.isNaN(declared) && declared !== sizeBytes) {
    const message = `the reply has ${sizeBytes} bytes and was said to have ${declared}`;
    throw new ExchangeError(message, { isUnsent: false });
  }
  return whole ?? Buffer.concat(pieces, sizeBytes);
}

/** Memory that is filled as the body comes, which takes half of what pieces take that are joined at the end. */
function prepare(declared: number, into: Uint8Array | undefined): Buffer | null {
  if (into !== undefined && declared <= into.length) {
    return Buffer.from(into.buffer, into.byteOffset, declared);
  }
  return declared <= preparedSizeBytesMax ? Buffer.allocUnsafeSlow(declared) : null;
}
