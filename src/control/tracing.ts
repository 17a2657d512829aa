/** What control tells a tracer, if there is one (`spritesd/tracing.ts`). */

/** One request's span and those below it. */
export interface Trace {
  /** A span of its own for the work. */
  child<T>(
    name: string,
    attributes: Readonly<Record<string, string>>,
    work: () => Promise<T>,
  ): Promise<T>;
  /** Once. */
  end(status: number): void;
}

export interface Tracing {
  begin(request: {
    method: string;
    route: string;
    /** As it came, W3C Trace Context; whoever asks may be part of a trace already. */
    traceparent: string | undefined;
    requestId: string;
  }): Trace;
}

const noTrace: Trace = { child: (_name, _attributes, work) => work(), end: () => undefined };

export const noTracing: Tracing = { begin: () => noTrace };
