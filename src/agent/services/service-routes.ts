import { errorResponse, SpriteError } from "../../contract/errors.ts";
import {
  parseServiceDefinition,
  parseServiceName,
  parseServiceSignal,
  serviceEvent,
  serviceObject,
} from "../../contract/service.ts";
import { openNdjson, readJson, sendJson, sendNoContent } from "../api/responses.ts";
import type { RequestContext, Route } from "../api/route.ts";
import { stopMsDefault, stopMsMax, streamsMax, watchMsDefault, watchMsMax } from "./limits.ts";
import { notRunning, type Service } from "./service.ts";
import { parseLines, problemHeader, problemHeaderText } from "./service-queries.ts";
import { ServiceStream } from "./service-stream.ts";
import type { Services } from "./services.ts";

/** The endpoints of contract.md section 6, the same outside and on the socket inside. */
export function serviceRoutes(services: Services): Route[] {
  const one = ["services", ":service"] as const;
  type Handler = (services: Services, context: RequestContext) => Promise<void>;
  const handle = (handler: Handler): Route["handle"] => {
    return (context) => handler(services, context);
  };
  let streamCount = 0;
  /** Each holds what its reader has not taken yet. */
  const stream = (handler: Handler): Route["handle"] => {
    return async (context) => {
      if (streamCount >= streamsMax) {
        throw new SpriteError("unavailable", "too many streams of services are open", {
          details: { limit: streamsMax },
        });
      }
      streamCount += 1;
      await handler(services, context).finally(() => (streamCount -= 1));
    };
  };
  return [
    { method: "GET", pattern: ["services"], isQuiet: true, handle: handle(list) },
    { method: "POST", pattern: ["services", "signal"], handle: handle(signal) },
    { method: "GET", pattern: one, isQuiet: true, handle: handle(get) },
    { method: "PUT", pattern: one, handle: stream(put) },
    { method: "DELETE", pattern: one, handle: handle(remove) },
    { method: "POST", pattern: [...one, "start"], handle: stream(start) },
    { method: "POST", pattern: [...one, "stop"], handle: stream(stop) },
    { method: "POST", pattern: [...one, "restart"], handle: stream(restart) },
    { method: "GET", pattern: [...one, "logs"], isQuiet: true, handle: stream(logs) },
  ];
}

async function list(services: Services, { response }: RequestContext): Promise<void> {
  const group = await services.group();
  if (group.problem !== null) response.setHeader(problemHeader, problemHeaderText(group.problem));
  sendJson(response, 200, group.list().map(objectOf));
}

async function get(services: Services, { params, response }: RequestContext): Promise<void> {
  const group = await services.group();
  sendJson(response, 200, objectOf(group.get(nameOf(params))));
}

async function put(services: Services, context: RequestContext): Promise<void> {
  const { params, request, query } = context;
  const durationMs = watchMs(query.durationMs("duration"));
  const definition = parseServiceDefinition(nameOf(params), await readJson(request));
  const group = await services.group();
  const service = await group.define(definition);
  await narrate(context, service, watching(durationMs), (stream) =>
    group.start(definition.name, stream.send),
  );
}

async function start(services: Services, context: RequestContext): Promise<void> {
  const durationMs = watchMs(context.query.durationMs("duration"));
  const group = await services.group();
  const service = group.get(nameOf(context.params));
  await narrate(context, service, watching(durationMs), (stream) =>
    group.start(service.definition.name, stream.send),
  );
}

async function restart(services: Services, context: RequestContext): Promise<void> {
  const durationMs = watchMs(context.query.durationMs("duration"));
  const group = await services.group();
  const service = group.get(nameOf(context.params));
  await narrate(context, service, watching(durationMs), () =>
    group.restart(service.definition.name),
  );
}

async function stop(services: Services, context: RequestContext): Promise<void> {
  const timeoutMs = stopMs(context.query.durationMs("timeout"));
  const group = await services.group();
  const service = group.get(nameOf(context.params));
  if (service.state.status === "stopped") throw notRunning(service.definition.name);
  await narrate(context, service, { durationMs: 0, tellsOutput: true }, async () => {
    // It stops all the same when that it stays so cannot be written down, and its caller hears of it.
    const marked = group.markStopped(service, true);
    marked.catch(() => undefined);
    await service.stop(timeoutMs);
    await marked;
  });
}

async function remove(services: Services, context: RequestContext): Promise<void> {
  const timeoutMs = stopMs(context.query.durationMs("timeout"));
  const group = await services.group();
  await group.remove(nameOf(context.params), timeoutMs);
  sendNoContent(context.response);
}

async function signal(services: Services, { request, response }: RequestContext): Promise<void> {
  const { name, signal: sent } = parseServiceSignal(await readJson(request));
  const group = await services.group();
  group.get(name).signal(sent);
  sendNoContent(response);
}

async function logs(services: Services, context: RequestContext): Promise<void> {
  const { query, response, params } = context;
  const linesMax = parseLines(query.text("lines"));
  const durationMs = Math.min(query.durationMs("duration") ?? 0, watchMsMax);
  const group = await services.group();
  const service = group.get(nameOf(params));
  const waiting: Parameters<ServiceStream["send"]>[0][] = [];
  let deliver = (event: (typeof waiting)[number]): unknown => waiting.push(event);
  let unfollow = (): unknown => undefined;
  try {
    const records = await service.log.read(linesMax, () => {
      if (durationMs > 0) unfollow = service.follow((event) => deliver(event));
    });
    const stream = new ServiceStream(openNdjson(response));
    for (const { stream: source, data, timeMs } of records) {
      stream.send(serviceEvent.output(source, data, timeMs));
      await stream.drained();
    }
    for (const event of waiting) stream.sendOutput(event);
    deliver = stream.sendOutput;
    await stream.watched(durationMs, service.gone);
    stream.complete(service.definition.name);
  } finally {
    unfollow();
  }
}

/**
 * Has something done to a service while its caller hears of it line by line. The last line is
 * `complete`, whatever happens; a caller that goes away does not undo what it asked for.
 */
async function narrate(
  { response, log }: RequestContext,
  service: Service,
  { durationMs, tellsOutput }: Watching,
  work: (stream: ServiceStream) => Promise<void>,
): Promise<void> {
  const stream = new ServiceStream(openNdjson(response));
  const unfollow = service.follow(tellsOutput ? stream.send : stream.sendEvents);
  try {
    await work(stream);
    await stream.watched(durationMs, service.gone);
  } catch (error) {
    if (!(error instanceof SpriteError)) log.error({ err: error }, "a service's operation failed");
    stream.send(serviceEvent.error(errorResponse(error).body.message, Date.now()));
  } finally {
    unfollow();
  }
  stream.complete(service.definition.name);
}

interface Watching {
  /** After the work is done. */
  durationMs: number;
  /** Who does not want to wait wants no output either. */
  tellsOutput: boolean;
}

function watching(durationMs: number): Watching {
  return { durationMs, tellsOutput: durationMs > 0 };
}

function objectOf({ definition, state }: Service): Record<string, unknown> {
  return serviceObject(definition, state);
}

function nameOf(params: RequestContext["params"]): string {
  return parseServiceName(params["service"]);
}

function watchMs(given: number | null): number {
  return Math.min(given ?? watchMsDefault, watchMsMax);
}

function stopMs(given: number | null): number {
  return Math.min(given ?? stopMsDefault, stopMsMax);
}
