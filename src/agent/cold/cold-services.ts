/** The services of a sprite that sleeps: what its disk says of them. None runs. */
import type { Readable } from "node:stream";

import { FileError } from "../../contract/file-error.ts";
import { SpriteError } from "../../contract/errors.ts";
import { parseServiceName, serviceEvent, serviceObject } from "../../contract/service.ts";
import type { ByteRange } from "../../contract/file-requests.ts";
import { goneSignal, openNdjson, sendJson } from "../api/responses.ts";
import type { RequestContext, Route } from "../api/route.ts";
import type { FileOperations } from "../files/file-operations.ts";
import { logReadBytesMax, servicesFileBytesMax } from "../services/limits.ts";
import { parseLog, splitLog } from "../services/log-lines.ts";
import { decodeServices, type KeptService, type ReadServices } from "../services/services-file.ts";
import { parseLines, problemHeader, problemHeaderText } from "../services/service-queries.ts";
import { guestDirectories } from "../services/services.ts";

type Files = Pick<FileOperations, "read">;

const asleep = {
  status: "stopped",
  pid: null,
  startedAtMs: null,
  error: "",
  restartCount: 0,
  nextRestartAtMs: null,
  exitCode: null,
} as const;

/** As `serviceRoutes`, as far as they only look. */
export function coldServiceRoutes(files: Files): Route[] {
  const route = (
    pattern: readonly string[],
    handle: (files: Files, context: RequestContext) => Promise<void>,
  ): Route => ({
    method: "GET",
    pattern: ["services", ...pattern],
    isQuiet: true,
    handle: (context) => handle(files, context),
  });
  return [route([], list), route([":service"], get), route([":service", "logs"], logs)];
}

async function list(files: Files, { response }: RequestContext): Promise<void> {
  const { services, problems } = await load(files, goneSignal(response));
  if (problems.length > 0) {
    const text = `${definitionsPath} is damaged (${problems.join("; ")})`;
    response.setHeader(problemHeader, problemHeaderText(text));
  }
  sendJson(response, 200, services.map(objectOf));
}

async function get(files: Files, { params, response }: RequestContext): Promise<void> {
  sendJson(response, 200, objectOf(await find(files, params, goneSignal(response))));
}

/** Nothing is added to a log while nothing runs, so there is nothing to follow. */
async function logs(files: Files, { params, query, response }: RequestContext): Promise<void> {
  const linesMax = parseLines(query.text("lines"));
  const signal = goneSignal(response);
  const { definition } = await find(files, params, signal);
  const records = linesMax === 0 ? [] : await readLog(files, definition.name, signal);
  const stream = openNdjson(response);
  for (const { stream: source, data, timeMs } of records.slice(-linesMax)) {
    stream.send(serviceEvent.output(source, data, timeMs));
    await stream.drained();
  }
  stream.send(serviceEvent.complete(definition.name, Date.now()));
  stream.end();
}

const definitionsPath = `${guestDirectories.stateDirectory}/services.json`;

async function load(files: Files, signal: AbortSignal): Promise<ReadServices> {
  const range = { start: 0, end: servicesFileBytesMax };
  const { bytes, problem } = await readPart(files, { path: definitionsPath, range }, signal);
  if (problem !== null) return { services: [], problems: [problem] };
  if (bytes === null) return { services: [], problems: [] };
  if (bytes.length > servicesFileBytesMax) return { services: [], problems: ["it is too large"] };
  return decodeServices(bytes.toString("utf8"));
}

/** @throws SpriteError not_found */
async function find(
  files: Files,
  params: RequestContext["params"],
  signal: AbortSignal,
): Promise<KeptService> {
  const name = parseServiceName(params["service"]);
  const { services } = await load(files, signal);
  const found = services.find(({ definition }) => definition.name === name);
  if (found === undefined) throw new SpriteError("not_found", `service not found: ${name}`);
  return found;
}

function objectOf({ definition, isStopped }: KeptService): Record<string, unknown> {
  const object = serviceObject(definition, asleep);
  return { ...object, state: { ...(object["state"] as object), starts_on_wake: !isStopped } };
}

async function readLog(
  files: Files,
  name: string,
  signal: AbortSignal,
): Promise<ReturnType<typeof parseLog>> {
  const path = `${guestDirectories.logDirectory}/${name}.log`;
  let rest = logReadBytesMax;
  const parts: Buffer[] = [];
  // The newest file first, and of the one before as much as there is room for.
  for (const file of [path, `${path}.1`]) {
    if (rest === 0) break;
    const range = { last: rest };
    const { bytes } = await readPart(files, { path: file, range }, signal);
    parts.unshift(bytes ?? Buffer.alloc(0));
    rest -= bytes?.length ?? 0;
  }
  return parseLog(splitLog(Buffer.concat(parts), logReadBytesMax));
}

/** No bytes: there is no such file. A problem: there is something else in its place. */
async function readPart(
  files: Files,
  request: { path: string; range: ByteRange },
  signal: AbortSignal,
): Promise<{ bytes: Buffer | null; problem: string | null }> {
  try {
    const { body, length } = await files.read(request, signal);
    const bytes = await allOf(body);
    if (bytes.length === length) return { bytes, problem: null };
    throw new SpriteError("unavailable", `${request.path} was not read whole; try again`);
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
    // A range of an empty file is of nothing.
    if (error.code === "ERANGE") return { bytes: Buffer.alloc(0), problem: null };
    if (error.code === "EISDIR" || error.code === "EINVAL") {
      return { bytes: null, problem: "it is not a file" };
    }
    return { bytes: null, problem: null };
  }
}

/** The other direction of its connection would stay open. */
async function allOf(body: Readable): Promise<Buffer> {
  try {
    const pieces: Buffer[] = [];
    for await (const piece of body) pieces.push(piece as Buffer);
    return Buffer.concat(pieces);
  } finally {
    body.destroy();
  }
}
