import { translateDatabaseError } from "./database.ts";
import type { IncomingMessage } from "node:http";

import type { Log } from "../base/log.ts";
import { SpriteError, errorResponse, type ErrorBody } from "../contract/errors.ts";
import type { AddedHeaders } from "./splice/http-heads.ts";
import { logPathLengthMax, requestIdLengthMax } from "./limits.ts";
import { noTracing, type Trace, type Tracing } from "./tracing.ts";
import { noMetrics, type Metrics } from "./metrics/metrics.ts";
import { routeTemplate } from "./metrics/route-template.ts";
import { randomRequestId } from "./random-ids.ts";
import { splitTarget, type RequestTarget } from "./request-target.ts";

const requestIdPattern = new RegExp(`^[A-Za-z0-9._-]{1,${requestIdLengthMax}}$`);
/** In logs only: the client left before it was answered. */
const clientGoneStatus = 499;

/** One request and its answer: its id, what every answer carries, and its line in the log. */
export class Exchange {
  readonly method: string;
  readonly target: RequestTarget;
  readonly requestId: string;
  readonly added: AddedHeaders;
  organizationSlug: string | null = null;
  readonly #log: Log;
  readonly #metrics: Metrics;
  readonly #trace: Trace;
  readonly #startMs = performance.now();
  #logged = false;

  constructor(
    request: IncomingMessage,
    options: { version: string; log: Log; metrics?: Metrics; tracing?: Tracing },
  ) {
    const clientsId = request.headers["x-request-id"];
    this.method = request.method ?? "";
    this.target = splitTarget(request.url ?? "");
    this.requestId =
      typeof clientsId === "string" && requestIdPattern.test(clientsId)
        ? clientsId
        : randomRequestId();
    this.added = { "sprite-version": options.version, "x-request-id": this.requestId };
    this.#log = options.log;
    this.#metrics = options.metrics ?? noMetrics;
    const { traceparent } = request.headers;
    this.#trace = (options.tracing ?? noTracing).begin({
      method: knownMethod(this.method),
      route: routeTemplate(this.target.rawPath),
      traceparent: typeof traceparent === "string" ? traceparent : undefined,
      requestId: this.requestId,
    });
  }

  /** Work for it, as a span of its trace. */
  async traced<T>(
    name: string,
    attributes: Readonly<Record<string, string>>,
    work: () => Promise<T>,
  ): Promise<T> {
    return await this.#trace.child(name, attributes, work);
  }

  /** What the client is told. Failures of ours go to the log with their cause. */
  describeError(cause: unknown): { status: number; body: ErrorBody; headers: AddedHeaders } {
    const error = translateDatabaseError(cause);
    const { status, body } = errorResponse(error);
    if (status >= 500) {
      this.#log.error({ requestId: this.requestId, err: error }, "answer request");
    }
    return { status, body, headers: { ...this.added, ...errorHeaders(error) } };
  }

  /** Writes the request's line, once. The query stays out: it holds commands and their environment. */
  done(status: number | null): void {
    if (this.#logged) return;
    this.#logged = true;
    this.#measure(status ?? clientGoneStatus);
    this.#trace.end(status ?? clientGoneStatus);
    this.#log.info(
      {
        requestId: this.requestId,
        method: this.method,
        path: this.target.rawPath.slice(0, logPathLengthMax),
        status: status ?? clientGoneStatus,
        ms: Math.round((performance.now() - this.#startMs) * 100) / 100,
        org: this.organizationSlug,
      },
      "request",
    );
  }

  #measure(status: number): void {
    const route = routeTemplate(this.target.rawPath);
    const isUpgrade = status === 101;
    if (route === execRoute) {
      const transport = isUpgrade ? "websocket" : "http";
      this.#metrics.count("opensprites_exec_requests_total", { transport });
    }
    if (isUpgrade) {
      this.#metrics.count("opensprites_http_upgrades_total", { route });
      return;
    }
    const method = knownMethod(this.method);
    const seconds = (performance.now() - this.#startMs) / 1_000;
    const labels = { method, route, status: `${Math.floor(status / 100)}xx` };
    this.#metrics.observe("opensprites_http_request_duration_seconds", seconds, labels);
  }
}

const execRoute = "/v1/sprites/{name}/exec";
/** A method that nobody has heard of is no label. */
const knownMethods: ReadonlySet<string> = new Set(["GET", "HEAD", "POST", "PUT", "DELETE"]);

function knownMethod(method: string): string {
  return knownMethods.has(method) ? method : "other";
}

function errorHeaders(error: unknown): AddedHeaders {
  if (!(error instanceof SpriteError)) return {};
  if (error.code === "unauthorized") return { "www-authenticate": "Bearer" };
  const { allow, retry_after_seconds: retryAfterSeconds, limit } = error.details;
  if (typeof allow === "string") return { allow };
  if (typeof retryAfterSeconds !== "number") return {};
  const retryAfter = { "retry-after": String(retryAfterSeconds) };
  if (error.status !== 429 || typeof limit !== "number") return retryAfter;
  return {
    ...retryAfter,
    "x-ratelimit-limit": String(limit),
    "x-ratelimit-remaining": "0",
    "x-ratelimit-reset": String(Math.ceil(Date.now() / 1000) + retryAfterSeconds),
  };
}
