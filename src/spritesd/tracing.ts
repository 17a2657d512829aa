/**
 * OpenTelemetry traces, when the usual variables name a collector: OTEL_EXPORTER_OTLP_ENDPOINT or
 * OTEL_EXPORTER_OTLP_TRACES_ENDPOINT. Without them none of it is loaded, which would cost some 19 MB and 140 ms.
 */
import type * as OpenTelemetry from "@opentelemetry/api";
import type { Attributes, Context, Span, Tracer } from "@opentelemetry/api";
import type { Log } from "../base/log.ts";
import { noTracing, type Trace, type Tracing } from "../control/tracing.ts";

export interface RunningTracing {
  tracing: Tracing;
  /** Sends what is left. */
  stop(): Promise<void>;
}

type Environment = Readonly<Record<string, string | undefined>>;

const traceparentPattern = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;
const spansWaitingMax = 2_048;
const stopTimeoutMs = 1_000;

export async function startTracing(
  options: { version: string; log: Log },
  environment: Environment = process.env,
): Promise<RunningTracing> {
  if (!isWanted(environment)) return { tracing: noTracing, stop: async () => undefined };
  const [api, sdk, { OTLPTraceExporter }, { resourceFromAttributes }] = await Promise.all([
    import("@opentelemetry/api"),
    import("@opentelemetry/sdk-trace"),
    import("@opentelemetry/exporter-trace-otlp-http"),
    import("@opentelemetry/resources"),
  ]);
  const exporter = new OTLPTraceExporter();
  const processor = new sdk.BatchSpanProcessor({ exporter, maxQueueSize: spansWaitingMax });
  const provider = new sdk.TracerProvider({
    spanProcessors: [processor],
    resource: resourceFromAttributes({
      "service.name": environment["OTEL_SERVICE_NAME"] ?? "opensprites",
      "service.version": options.version,
    }),
  });
  const tracer = provider.getTracer("opensprites", options.version);
  options.log.info("requests are traced");
  return {
    tracing: { begin: (request) => new RequestTrace(api, tracer, request) },
    stop: async () => {
      const late = new Promise((resolve) => setTimeout(resolve, stopTimeoutMs).unref());
      // A collector that is away is no reason to keep the server from ending.
      await Promise.race([provider.shutdown().catch(() => undefined), late]);
    },
  };
}

function isWanted(environment: Environment): boolean {
  if (environment["OTEL_SDK_DISABLED"]?.toLowerCase() === "true") return false;
  if (environment["OTEL_TRACES_EXPORTER"] === "none") return false;
  const names = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
  return names.some((name) => (environment[name] ?? "") !== "");
}

type Api = typeof OpenTelemetry;

class RequestTrace implements Trace {
  readonly #api: Api;
  readonly #tracer: Tracer;
  readonly #span: Span;
  readonly #context: Context;

  constructor(api: Api, tracer: Tracer, request: Parameters<Tracing["begin"]>[0]) {
    const { method, route, traceparent, requestId } = request;
    this.#api = api;
    this.#tracer = tracer;
    const attributes: Attributes = {
      "http.request.method": method,
      "http.route": route,
      "opensprites.request_id": requestId,
    };
    const options = { kind: api.SpanKind.SERVER, attributes };
    const parent = parentOf(api, traceparent);
    this.#span = tracer.startSpan(`${method} ${route}`, options, parent);
    this.#context = api.trace.setSpan(parent, this.#span);
  }

  async child<T>(
    name: string,
    attributes: Readonly<Record<string, string>>,
    work: () => Promise<T>,
  ): Promise<T> {
    const span = this.#tracer.startSpan(name, { attributes }, this.#context);
    try {
      return await work();
    } catch (error) {
      span.setStatus({ code: this.#api.SpanStatusCode.ERROR, message: codeOf(error) });
      throw error;
    } finally {
      span.end();
    }
  }

  end(status: number): void {
    this.#span.setAttribute("http.response.status_code", status);
    if (status >= 500) this.#span.setStatus({ code: this.#api.SpanStatusCode.ERROR });
    this.#span.end();
  }
}

/** What a caller sends is only believed as far as it has the form. */
function parentOf(api: Api, traceparent: string | undefined): Context {
  const [, traceId, spanId, flags] = traceparentPattern.exec(traceparent ?? "") ?? [];
  if (traceId === undefined || spanId === undefined || flags === undefined) return api.ROOT_CONTEXT;
  const traceFlags = Number.parseInt(flags, 16);
  const remote = { traceId, spanId, traceFlags, isRemote: true };
  return api.trace.setSpanContext(api.ROOT_CONTEXT, remote);
}

/** Messages may name what users have: codes do not. */
function codeOf(error: unknown): string {
  const code = (error as { code?: unknown }).code;
  return typeof code === "string" ? code : "internal_error";
}
