import { once } from "node:events";
import WebSocket, { type RawData } from "ws";
import type { TestServer } from "./server.ts";

/** A raw exec socket: what no SDK exposes. */
export interface ExecSocket {
  socket: WebSocket;
  /** Everything binary so far, in order, and the text messages. */
  bytes(): Buffer;
  messages(): Array<Record<string, unknown>>;
  closed: Promise<{ code: number; reason: string }>;
  /** Of the answer to the handshake. */
  headers: Readonly<Record<string, string | undefined>>;
}

export async function openExec(
  server: TestServer,
  path: string,
  query: ReadonlyArray<readonly [string, string]>,
): Promise<ExecSocket> {
  const url = new URL(path, server.url.replace(/^http/, "ws"));
  for (const [name, value] of query) url.searchParams.append(name, value);
  const headers = { authorization: `Bearer ${server.token}` };
  const socket = new WebSocket(url, { headers });
  const parts: Buffer[] = [];
  const messages: Array<Record<string, unknown>> = [];
  socket.on("message", (data: RawData, isBinary) => {
    const bytes = Buffer.isBuffer(data) ? data : Buffer.concat([data].flat() as Buffer[]);
    if (isBinary) parts.push(bytes);
    else messages.push(JSON.parse(bytes.toString()) as Record<string, unknown>);
  });
  const closed = new Promise<{ code: number; reason: string }>((resolve) => {
    socket.on("close", (code, reason) => resolve({ code, reason: reason.toString() }));
  });
  const answer: Record<string, string | undefined> = {};
  socket.on("upgrade", (response) => Object.assign(answer, response.headers));
  await once(socket, "open");
  socket.on("error", () => undefined);
  return {
    socket,
    bytes: () => Buffer.concat(parts),
    messages: () => messages,
    closed,
    headers: answer,
  };
}
