import { hash } from "node:crypto";
import { errorBodySizeBytesMax } from "../limits.ts";
import type { RequestKind } from "../object-store.ts";
import type { CredentialSource } from "./credentials.ts";
import {
  ExchangeError,
  HttpExchange,
  type Body,
  type BodyOptions,
  type Reply,
} from "./http-exchange.ts";
import type { S3Location } from "./location.ts";
import { AttemptError } from "./retries.ts";
import { emptyBodySha256, percentEncoded, queryString, signedHeaders } from "./signature.ts";
import { parseErrorBody, type S3ErrorBody } from "./xml.ts";

export interface S3Request {
  kind: RequestKind;
  method: "GET" | "HEAD" | "PUT" | "POST";
  /** Whole key in the bucket; empty: the bucket itself. */
  key: string;
  query?: readonly (readonly [string, string])[];
  headers?: Readonly<Record<string, string>>;
  body?: Body;
  /** Must be given for a body that is not in memory. */
  bodySha256?: string;
  /** Statuses beside success that the caller wants to see. */
  expected?: readonly number[];
}

/** Codes by which S3 says that it did nothing, so that a conditional write is known to have failed. */
const undoneCodes: ReadonlySet<string> = new Set([
  ...["SlowDown", "ServiceUnavailable", "TooManyRequests", "RequestLimitExceeded", "Throttling"],
  ...["ConditionalRequestConflict", "OperationAborted"],
]);
/** The body was damaged or cut on its way. */
const damagedCodes: ReadonlySet<string> = new Set([
  ...["BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody", "RequestTimeout"],
]);
const expiredCodes: ReadonlySet<string> = new Set(["ExpiredToken", "ExpiredTokenException"]);

/** Signs and sends single requests, and says of each that fails what kind of failure it is. */
export class S3Client {
  readonly #location: S3Location;
  readonly #credentials: CredentialSource;
  readonly #exchange: HttpExchange;
  readonly #now: () => number;
  readonly requests: Record<RequestKind, number> = { get: 0, put: 0, list: 0, delete: 0 };
  /** The server's clock less ours, once it has complained. */
  #skewMs = 0;

  constructor(options: {
    location: S3Location;
    credentials: CredentialSource;
    now: () => number;
    idleMsMax?: number;
  }) {
    this.#location = options.location;
    this.#credentials = options.credentials;
    this.#now = options.now;
    const { idleMsMax } = options;
    this.#exchange = new HttpExchange(
      options.location,
      idleMsMax === undefined ? {} : { idleMsMax },
    );
  }

  /**
   * The reply to a request that succeeded, or whose status is expected.
   * @throws AttemptError; SpriteError when there are no credentials; the signal's reason when it is aborted
   */
  async send(request: S3Request, signal: AbortSignal | undefined): Promise<Reply> {
    const credentials = await this.#credentials.get();
    const { host, basePath, region } = this.#location;
    const path = `${basePath}/${percentEncoded(request.key, { isPath: true })}`;
    const query = request.query ?? [];
    const { body = null, method } = request;
    const headers = signedHeaders(
      {
        method,
        host,
        path,
        query,
        headers: request.headers ?? {},
        bodySha256: request.bodySha256 ?? sha256Of(body),
      },
      { credentials, region, timeMs: this.#now() + this.#skewMs },
    );
    const target = query.length === 0 ? path : `${path}?${queryString(query)}`;
    this.requests[request.kind]++;
    const reply = await this.#exchange
      .send({ method, path: target, headers, body, signal })
      .catch((error: unknown) => {
        throw asAttemptError(error);
      });
    const isSuccess = reply.status >= 200 && reply.status < 300;
    if (isSuccess || (request.expected?.includes(reply.status) && reply.status !== 404))
      return reply;
    return this.#judge(request, reply);
  }

  close(): void {
    this.#exchange.close();
  }

  async #judge(request: S3Request, reply: Reply): Promise<Reply> {
    const text = await readBody(reply, { sizeBytesMax: errorBodySizeBytesMax });
    const error = parseErrorBody(text.toString());
    const isMissing = reply.status === 404 && error.code !== "NoSuchBucket";
    if (isMissing && request.expected?.includes(404)) return reply;
    if (error.code === "RequestTimeTooSkewed") return this.#adoptClock(reply);
    if (expiredCodes.has(error.code)) {
      this.#credentials.forget();
      throw new AttemptError("the credentials have expired", { isRetryable: true });
    }
    throw errorOf(reply, error, this.#location);
  }

  #adoptClock(reply: Reply): never {
    const serverMs = Date.parse(reply.header("date") ?? "");
    if (Number.isNaN(serverMs)) {
      throw new AttemptError("the clocks differ too much, and the store does not say by how much");
    }
    this.#skewMs = serverMs - this.#now();
    throw new AttemptError("the clocks differ too much", { isRetryable: true });
  }
}

/** @throws AttemptError when it ends early */
export async function readBody(reply: Reply, options?: BodyOptions): Promise<Buffer> {
  try {
    return await reply.body(options);
  } catch (error) {
    throw asAttemptError(error);
  }
}

function asAttemptError(error: unknown): unknown {
  if (!(error instanceof ExchangeError)) return error;
  const isOutcomeUnknown = !error.isUnsent;
  return new AttemptError(error.message, { isRetryable: true, isOutcomeUnknown, cause: error });
}

function errorOf(
  reply: Reply,
  { code, message, region }: S3ErrorBody,
  location: S3Location,
): AttemptError {
  const { status } = reply;
  const text = [`answered ${status}`, code, message].filter(Boolean).join(": ");
  if (status === 301 || status === 307 || code === "AuthorizationHeaderMalformed") {
    const found = reply.header("x-amz-bucket-region") ?? region;
    const hint = found ? `it is in ${found}` : "its endpoint or region is another";
    return new AttemptError(`${text}; asked for region ${location.region}, ${hint}`);
  }
  const retryAfterMs = 1_000 * Number(reply.header("retry-after") ?? Number.NaN);
  return new AttemptError(text, {
    isRetryable:
      [408, 409, 429].includes(status) ||
      damagedCodes.has(code) ||
      (status >= 500 && status !== 501),
    isThrottled: status === 429 || status === 503,
    isOutcomeUnknown: (status >= 500 || status === 408) && !undoneCodes.has(code),
    retryAfterMs: retryAfterMs > 0 ? retryAfterMs : null,
  });
}

function sha256Of(body: Body | null): string {
  if (body === null) return emptyBodySha256;
  if (body instanceof Uint8Array) return hash("sha256", body);
  throw new TypeError("a streamed body needs its hash");
}
