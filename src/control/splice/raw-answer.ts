/** Answers on a socket that has left Node's HTTP server: refused upgrades and requests that are not HTTP. */

import { STATUS_CODES } from "node:http";
import type { Socket } from "node:net";

import { headerLines, type AddedHeaders } from "./http-heads.ts";
import { closeTimeoutMs, drainIdleTimeoutMs } from "./limits.ts";

export interface RawAnswer {
  status: number;
  headers: readonly string[];
  body: Buffer;
}

export function jsonAnswer(status: number, body: object, added: AddedHeaders): RawAnswer {
  const headers = ["Content-Type", "application/json", ...Object.entries(added).flat()];
  return { status, headers, body: Buffer.from(JSON.stringify(body)) };
}

/** The last thing that goes over this connection. */
export function answerRaw(socket: Socket, answer: RawAnswer): void {
  const { status, body } = answer;
  const length = String(body.length);
  const headers = [...answer.headers, "Content-Length", length, "Connection", "close"];
  const line = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? "Unknown"}\r\n`;
  endGently(
    socket,
    Buffer.concat([Buffer.from(`${line}${headerLines(headers)}\r\n`, "latin1"), body]),
  );
}

/**
 * Ends our side and drops what the client still sends. Destroying the socket at once would make the kernel answer that
 * with a reset, and a client that gets a reset may lose our last bytes.
 */
export function endGently(socket: Socket, lastBytes?: Buffer): void {
  if (socket.destroyed) return;
  socket.removeAllListeners("data");
  socket.setTimeout(drainIdleTimeoutMs, () => socket.destroy());
  const onFlushed = (): void => {
    const timer = setTimeout(() => socket.destroy(), closeTimeoutMs);
    socket.once("close", () => clearTimeout(timer));
  };
  if (socket.writableFinished) onFlushed();
  else socket.once("finish", onFlushed);
  if (lastBytes === undefined) socket.end();
  else socket.end(lastBytes);
  socket.resume();
}
