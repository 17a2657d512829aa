/** The endpoints `/fs/...` (contract.md section 7). */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Readable } from "node:stream";

import {
  fileArgumentNames,
  parseChangeModeRequest,
  parseChangeOwnerRequest,
  parseCopyRequest,
  parseListRequest,
  parseRangeHeader,
  parseReadRequest,
  parseRemoveRequest,
  parseRenameRequest,
  parseWriteRequest,
  type FileArguments,
} from "../../contract/file-requests.ts";
import { FileError } from "../../contract/file-error.ts";
import type { Query } from "../api/query.ts";
import { goneSignal, readJson, sendJson, whenDrained } from "../api/responses.ts";
import type { RequestContext, Route } from "../api/route.ts";
import type { FileContent, FileOperations } from "./file-operations.ts";

export function fileRoutes(files: FileOperations): Route[] {
  /** One whose arguments come as JSON, and whose answer is one object. */
  const change = (
    name: string,
    work: (args: FileArguments, signal: AbortSignal) => Promise<unknown>,
  ): Route =>
    route("POST", name, async (context, signal) => {
      sendJson(context.response, 200, await work(await allArguments(context), signal));
    });
  return [
    ...fileReadRoutes(files),
    route("PUT", "write", async (context, signal) => await write(files, context, signal)),
    route("DELETE", "delete", async (context, signal) => {
      const request = parseRemoveRequest(await allArguments(context));
      sendJson(context.response, 200, await files.remove(request, signal));
    }),
    change("rename", async (args, signal) => files.rename(parseRenameRequest(args), signal)),
    change("copy", async (args, signal) => files.copy(parseCopyRequest(args), signal)),
    change("chmod", async (args, signal) => files.changeMode(parseChangeModeRequest(args), signal)),
    change("chown", async (args, signal) =>
      files.changeOwner(parseChangeOwnerRequest(args), signal),
    ),
  ];
}

/** Those that no process of the sprite is needed for: the disk is enough. */
export function fileReadRoutes(files: Pick<FileOperations, "read" | "list">): Route[] {
  const quiet = { isQuiet: true, holdsDisk: true };
  return [
    { ...route("GET", "read", (context, signal) => read(files, context, signal)), ...quiet },
    { ...route("GET", "list", (context, signal) => list(files, context, signal)), ...quiet },
  ];
}

function route(
  method: Route["method"],
  name: string,
  handle: (context: RequestContext, signal: AbortSignal) => Promise<void>,
): Route {
  return {
    method,
    pattern: ["fs", name],
    handle: async (context) => {
      const signal = goneSignal(context.response);
      try {
        await handle(context, signal);
      } catch (error) {
        // Then nobody is there to be told, and what broke off for it is nobody's fault. A body that
        // breaks off may say so before the connection does.
        const { request } = context;
        if (!signal.aborted && (!request.destroyed || request.complete)) throw error;
      }
    },
  };
}

async function read(
  files: Pick<FileOperations, "read">,
  { request, response, query }: RequestContext,
  signal: AbortSignal,
): Promise<void> {
  const asked = parseReadRequest(queryArguments(query));
  const range = parseRangeHeader(request.headers.range);
  const ifRange = request.headers["if-range"];
  let content: FileContent;
  try {
    content = await files.read({ ...asked, range: asked.range ?? range }, signal);
    // The client has the beginning of another content: it gets all of this one.
    if (range !== null && ifRange !== undefined && ifRange !== entityTag(content)) {
      content.body.destroy();
      content = await files.read({ ...asked, range: null }, signal);
    }
  } catch (error) {
    if (error instanceof FileError && error.code === "ERANGE") {
      response.setHeader("Content-Range", `bytes */${error.sizeBytes}`);
    }
    throw error;
  }
  const { start, length, sizeBytes } = content;
  const isPart = length !== sizeBytes || (range !== null && ifRange === undefined);
  response.writeHead(isPart ? 206 : 200, {
    "Content-Type": "application/octet-stream",
    "Content-Length": length,
    "Accept-Ranges": "bytes",
    "Last-Modified": new Date(content.modTimeMs).toUTCString(),
    ETag: entityTag(content),
    ...(isPart ? { "Content-Range": `bytes ${start}-${start + length - 1}/${sizeBytes}` } : {}),
  });
  if (request.method === "HEAD") {
    content.body.destroy();
    response.end();
  } else {
    relay(content.body, response, length);
  }
}

function entityTag({ tag }: FileContent): string {
  return `"${tag}"`;
}

/** A response that gets less than it promised is broken off, so that nobody takes it for whole. */
function relay(body: Readable, response: ServerResponse, length: number): void {
  let missing = length;
  body.on("data", (bytes: Buffer) => {
    missing -= bytes.length;
    if (!response.write(bytes)) body.pause();
  });
  response.on("drain", () => body.resume());
  response.on("close", () => body.destroy());
  body.on("close", () => {
    if (missing === 0) response.end();
    else response.destroy();
  });
  body.on("end", () => body.destroy());
}

async function write(
  files: FileOperations,
  { request, response, query }: RequestContext,
  signal: AbortSignal,
): Promise<void> {
  const asked = parseWriteRequest(queryArguments(query));
  sendJson(response, 200, await files.write(asked, bodyOf(request), signal));
}

/** Not destroyed when it is not read to its end: the client is to get the answer that says why. */
function bodyOf(request: IncomingMessage): AsyncIterable<Buffer> {
  return { [Symbol.asyncIterator]: () => request.iterator({ destroyOnReturn: false }) };
}

/** One object, however many entries: written as they come. */
async function list(
  files: Pick<FileOperations, "list">,
  { request, response, query }: RequestContext,
  signal: AbortSignal,
): Promise<void> {
  const { path, batches } = await files.list(parseListRequest(queryArguments(query)), signal);
  response.writeHead(200, { "Content-Type": "application/json" });
  response.write(`{"path":${JSON.stringify(path)},"entries":[`);
  let count = 0;
  for await (const entries of batches) {
    if (request.method === "HEAD") break;
    const text = entries.map((entry) => JSON.stringify(entry)).join(",");
    const isTaken = response.write(count === 0 ? text : `,${text}`);
    count += entries.length;
    if (!isTaken) await whenDrained(response);
    if (response.destroyed) return;
  }
  response.end(`],"count":${count}}`);
}

async function allArguments({ request, query }: RequestContext): Promise<FileArguments> {
  const body = await readJson(request);
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    throw new FileError("EINVAL", { verb: "request", path: "", reason: "the body is no object" });
  }
  return { ...queryArguments(query), ...body };
}

function queryArguments(query: Query): FileArguments {
  return Object.fromEntries(fileArgumentNames.map((name) => [name, query.text(name)]));
}
