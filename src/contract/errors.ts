/**
 * The errors that users see: a stable code, an HTTP status, and whether trying again can help.
 * Codes are API: they are added, never renamed (contract.md section 14).
 */

import { FileError, fileErrorBody } from "./file-error.ts";

const statusByCode = {
  invalid_request: 400,
  unauthorized: 401,
  forbidden: 403,
  not_found: 404,
  method_not_allowed: 405,
  already_exists: 409,
  conflict: 409,
  busy: 409,
  gone: 410,
  payload_too_large: 413,
  misdirected_request: 421,
  rate_limited: 429,
  sprite_creation_rate_limited: 429,
  concurrent_sprite_limit_exceeded: 429,
  headers_too_large: 431,
  internal_error: 500,
  storage_failure: 500,
  bucket_unfit: 500,
  disk_full: 507,
  bad_gateway: 502,
  nothing_listening: 502,
  unavailable: 503,
  start_failed: 503,
  deadline_exceeded: 504,
} as const;

export type ErrorCode = keyof typeof statusByCode;

export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === "string" && Object.hasOwn(statusByCode, value);
}

export function statusOf(code: ErrorCode): number {
  return statusByCode[code];
}

const retryableCodes: ReadonlySet<ErrorCode> = new Set([
  "busy",
  "unavailable",
  "deadline_exceeded",
  "rate_limited",
  "sprite_creation_rate_limited",
  "concurrent_sprite_limit_exceeded",
]);

export interface SpriteErrorOptions {
  cause?: unknown;
  /** Further JSON fields for the response body, such as `limit` or `retry_after_seconds`. */
  details?: Readonly<Record<string, unknown>>;
}

/** An operational error: something a caller or an operator can act on. Bugs are assertions instead. */
export class SpriteError extends Error {
  override readonly name = "SpriteError";
  readonly code: ErrorCode;
  readonly status: number;
  readonly retryable: boolean;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: SpriteErrorOptions = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.code = code;
    this.status = statusByCode[code];
    this.retryable = retryableCodes.has(code);
    this.details = options.details ?? {};
  }
}

/** The JSON body of an error response, in the shape of contract.md section 14.1. */
export interface ErrorBody {
  error: string;
  message: string;
  [detail: string]: unknown;
}

/** Turns anything thrown into the status and body that a client gets. Causes stay in the log. */
export function errorResponse(error: unknown): { status: number; body: ErrorBody } {
  if (error instanceof FileError) {
    return { status: error.status, body: { ...fileErrorBody(error), message: error.message } };
  }
  if (error instanceof SpriteError) {
    const body = { ...error.details, error: error.code, message: error.message };
    return { status: error.status, body };
  }
  return { status: 500, body: { error: "internal_error", message: "internal error" } };
}
