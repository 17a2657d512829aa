/**
 * An S3 server on loopback that misbehaves as told, request by request. It keeps objects in memory, knows conditional
 * writes and one page of a list, and checks no signature: a real server does that (testing/radosgw.ts).
 */
import { hash } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { TestContext } from "node:test";

export interface SeenRequest {
  method: string;
  /** Without the bucket; empty for the bucket itself. */
  key: string;
  headers: IncomingMessage["headers"];
  body: Buffer;
}

/** What to do with one request; "serve" is what a good server does. */
export type Turn =
  | "serve"
  /** Never answers, and does nothing. */
  | "hang"
  /** Breaks the connection: before anything was done, or after. */
  | "cut before"
  | "cut after"
  /** Sends half of the body, then breaks the connection. */
  | "truncate"
  /** Answers with an error, without doing anything, or after all. */
  | {
      status: number;
      code?: string;
      headers?: Record<string, string>;
      isDone?: boolean;
      region?: string;
    };

export interface ScriptedS3Server {
  endpoint: string;
  objects: Map<string, Buffer>;
  requests: SeenRequest[];
  /** The turns of the next requests; after them everything is served. */
  script: Turn[];
  /** As Ceph RGW 16: tags in quotes never match. */
  isUnquoted: boolean;
}

interface Answer {
  status: number;
  headers?: Record<string, string>;
  body?: Buffer;
}

/** Ends with the test. */
export async function startScriptedS3Server(test: TestContext): Promise<ScriptedS3Server> {
  const state: ScriptedS3Server = {
    endpoint: "",
    objects: new Map(),
    requests: [],
    script: [],
    isUnquoted: false,
  };
  const server = createServer((request, response) => {
    void answerRequest(state, request, response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  test.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const address = server.address();
  const port = address !== null && typeof address === "object" ? address.port : 0;
  state.endpoint = `http://127.0.0.1:${port}`;
  return state;
}

async function answerRequest(
  state: ScriptedS3Server,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const pieces: Buffer[] = [];
  for await (const piece of request as AsyncIterable<Buffer>) pieces.push(piece);
  const url = new URL(request.url ?? "/", "http://loopback");
  const [, , ...names] = url.pathname.split("/");
  const seen: SeenRequest = {
    method: request.method ?? "",
    key: decodeURIComponent(names.join("/")),
    headers: request.headers,
    body: Buffer.concat(pieces),
  };
  state.requests.push(seen);
  const turn = state.script.shift() ?? "serve";
  if (turn === "hang") return;
  if (turn === "cut before") {
    request.socket.destroy();
    return;
  }
  const isDone = typeof turn === "string" || turn.isDone === true;
  const served = isDone ? serve(state, seen, url) : { status: 0 };
  if (turn === "cut after") request.socket.destroy();
  else if (typeof turn === "string") send(response, served, { isHalf: turn === "truncate" });
  else send(response, errorAnswer(turn), { isHalf: false });
}

function send(response: ServerResponse, answer: Answer, { isHalf }: { isHalf: boolean }): void {
  const body = answer.body ?? Buffer.alloc(0);
  response.writeHead(answer.status, { ...answer.headers, "content-length": body.length });
  if (!isHalf) {
    response.end(body);
    return;
  }
  response.write(body.subarray(0, Math.floor(body.length / 2)), () => response.destroy());
}

function errorAnswer(turn: Exclude<Turn, string>): Answer {
  const { status, code = "", headers = {}, region } = turn;
  const hint = region === undefined ? "" : `<Region>${region}</Region>`;
  const body = Buffer.from(`<Error><Code>${code}</Code><Message>scripted</Message>${hint}</Error>`);
  return { status, headers, body };
}

function serve(state: ScriptedS3Server, request: SeenRequest, url: URL): Answer {
  if (request.method === "POST") return serveDelete(state, request);
  if (request.key === "") return serveList(state, url.searchParams.get("prefix") ?? "");
  if (request.method === "PUT") return servePut(state, request);
  const object = state.objects.get(request.key);
  if (object === undefined) return errorAnswer({ status: 404, code: "NoSuchKey" });
  const headers = { etag: etagOf(object) };
  const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
  if (from === undefined || to === undefined) return { status: 200, headers, body: object };
  const body = object.subarray(Number(from), Number(to) + 1);
  const range = {
    "content-range": `bytes ${from}-${Number(from) + body.length - 1}/${object.length}`,
  };
  return { status: 206, headers: { ...headers, ...range }, body };
}

function servePut(state: ScriptedS3Server, { key, headers, body }: SeenRequest): Answer {
  const current = state.objects.get(key);
  const match = headers["if-match"];
  if (headers["if-none-match"] === "*" && current) return errorAnswer({ status: 412 });
  if (match !== undefined) {
    if (current === undefined) return errorAnswer({ status: 404, code: "NoSuchKey" });
    const tag = etagOf(current);
    if (match !== (state.isUnquoted ? tag.slice(1, -1) : tag)) return errorAnswer({ status: 412 });
  }
  state.objects.set(key, body);
  return { status: 200, headers: { etag: etagOf(body) } };
}

function serveList({ objects }: ScriptedS3Server, prefix: string): Answer {
  const keys = [...objects.keys()].filter((key) => key.startsWith(prefix)).sort();
  const elements = keys.map((key) => {
    const size = objects.get(key)?.length ?? 0;
    const time = new Date().toISOString();
    const name = encodeURIComponent(key);
    return `<Contents><Key>${name}</Key><LastModified>${time}</LastModified><Size>${size}</Size></Contents>`;
  });
  const text = `<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>${elements.join("")}`;
  return { status: 200, body: Buffer.from(`${text}</ListBucketResult>`) };
}

/** A key with "stubborn" in it is not deleted the first time. */
function serveDelete({ objects }: ScriptedS3Server, { body }: SeenRequest): Answer {
  const errors: string[] = [];
  for (const [, key = ""] of body.toString().matchAll(/<Key>([^<]*)<\/Key>/g)) {
    if (key.includes("stubborn") && objects.get(key)?.length !== 0) {
      objects.set(key, Buffer.alloc(0));
      errors.push(`<Error><Key>${key}</Key><Code>InternalError</Code></Error>`);
    } else objects.delete(key);
  }
  return { status: 200, body: Buffer.from(`<DeleteResult>${errors.join("")}</DeleteResult>`) };
}

function etagOf(bytes: Buffer): string {
  return `"${hash("md5", bytes)}"`;
}
