import { connect, type Socket } from "node:net";

import { waitUntil } from "../../base/wait.ts";

export interface RawResponse {
  status: number;
  headers: Record<string, string>;
  body: string;
}

/** Sends the bytes as they are and reads until the server ends or an answer with its length is whole. */
export async function sendRaw(
  port: number,
  bytes: string | Buffer | readonly Buffer[],
): Promise<RawResponse> {
  const socket = connect(port, "127.0.0.1");
  const received: Buffer[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.on("data", (part) => {
    received.push(part);
    if (isWhole(Buffer.concat(received).toString("latin1"))) resolve();
  });
  socket.on("error", () => resolve());
  socket.on("close", () => resolve());
  const timer = setTimeout(() => resolve(), 10_000);
  for (const part of typeof bytes === "string" ? [bytes] : [bytes].flat())
    socket.write(part, "latin1");
  await promise;
  clearTimeout(timer);
  socket.destroy();
  return parseRaw(Buffer.concat(received).toString("latin1"));
}

function isWhole(text: string): boolean {
  const end = text.indexOf("\r\n\r\n");
  const length = /\r\ncontent-length: (\d+)/i.exec(text)?.[1];
  return end >= 0 && length !== undefined && text.length >= end + 4 + Number(length);
}

export function parseRaw(text: string): RawResponse {
  const [head = "", ...rest] = text.split("\r\n\r\n");
  const [statusLine = "", ...lines] = head.split("\r\n");
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const colon = line.indexOf(":");
    headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
  }
  return { status: Number(statusLine.split(" ")[1] ?? 0), headers, body: rest.join("\r\n\r\n") };
}

/** All that comes until the condition holds or the socket closes. */
export function readUntil(socket: Socket, done: (text: string) => boolean): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    const finish = (): void => {
      clearTimeout(timer);
      socket.off("data", onData);
      resolve(text);
    };
    const onData = (part: Buffer): void => {
      text += part.toString("latin1");
      if (done(text)) finish();
    };
    const timer = setTimeout(finish, 10_000);
    socket.on("data", onData);
    socket.once("close", finish);
  });
}

/** Waits for a condition. @throws after ten seconds */
export async function eventually(condition: () => boolean, what: string): Promise<void> {
  const holds = await waitUntil(condition, { timeoutMs: 30_000, intervalMs: 5 });
  if (!holds) throw new Error(`never: ${what}`);
}
