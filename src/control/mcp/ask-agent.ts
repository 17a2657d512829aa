/** One request to a sprite's agent, over the connection that a splice would use. */

import type { Socket } from "node:net";

import { ResponseReader, type ResponseHead } from "../../base/http/response-reader.ts";
import { SpriteError } from "../../contract/errors.ts";
import { headerSizeBytesMax } from "../../contract/limits.ts";
import { coldReadOf } from "../cold-reads.ts";
import { abortReason } from "../splice/abort-reason.ts";
import { connectAgent } from "../splice/agent-connection.ts";
import { agentResponseLimits } from "../splice/limits.ts";
import type { OpenSplices, Splice } from "../splice/open-splices.ts";
import type { SpriteRecord } from "../sprite-record.ts";
import type { Sprites } from "../sprites.ts";
import { agentHeadSizeBytesMax } from "./limits.ts";

export interface AgentRequest {
  method: "GET" | "POST" | "PUT";
  /** Decoded path segments below the sprite. */
  segments: readonly string[];
  query?: URLSearchParams;
  body?: { type: string; bytes: Buffer };
}

export interface AgentParts {
  sprites: Sprites;
  splices: OpenSplices;
  requestId: string;
  /** Ends the request; its reason is thrown. */
  signal: AbortSignal;
}

export interface AgentHandler {
  onHead(head: ResponseHead): void;
  /** A whole chunk, when the agent sends chunks of at most 64 KiB. */
  onBody(bytes: Buffer): void;
}

/**
 * Starts the sprite when it sleeps, unless its disk is enough, and resolves when the answer has ended.
 * @throws SpriteError unavailable, not_found (it is deleted meanwhile), and what a start throws
 */
export async function askAgent(
  parts: AgentParts,
  sprite: SpriteRecord,
  request: AgentRequest,
  handler: AgentHandler,
): Promise<void> {
  const head = requestHead(parts, sprite, request);
  const ended = new AbortController();
  const splice: Splice = { kind: "answer", end: ({ error }) => ended.abort(error) };
  const remove = parts.splices.add(sprite.id, splice);
  const signal = AbortSignal.any([parts.signal, ended.signal]);
  const read = coldReadOf(parts.sprites, sprite, request);
  try {
    const start = (starting: AbortSignal) =>
      read?.start(starting) ?? parts.sprites.start(sprite, starting);
    const socket = await connectAgent(start, signal);
    socket.write(head);
    if (request.body !== undefined) socket.write(request.body.bytes);
    await readAnswer(socket, handler, signal);
  } finally {
    remove();
    read?.end();
  }
}

/** @throws SpriteError payload_too_large */
function requestHead(parts: AgentParts, sprite: SpriteRecord, request: AgentRequest): string {
  const { method, segments, query, body } = request;
  const path = ["v1", "sprites", sprite.name, ...segments].map(encodeURIComponent).join("/");
  const target =
    query === undefined || query.size === 0 ? `/${path}` : `/${path}?${query.toString()}`;
  if (target.length > headerSizeBytesMax - agentHeadSizeBytesMax) {
    const message = `the command, its environment and the like are larger than ${headerSizeBytesMax} bytes`;
    throw new SpriteError("payload_too_large", message);
  }
  const lines = [
    `${method} ${target} HTTP/1.1`,
    "host: localhost",
    `x-request-id: ${parts.requestId}`,
    "connection: close",
    ...(body === undefined ? [] : [`content-type: ${body.type}`]),
    `content-length: ${body?.bytes.length ?? 0}`,
  ];
  return `${lines.join("\r\n")}\r\n\r\n`;
}

function readAnswer(socket: Socket, handler: AgentHandler, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onAbort = (): void => reject(abortReason(signal));
  const reader = new ResponseReader(
    {
      onHead: (head) => handler.onHead(head),
      onBody: (bytes) => handler.onBody(bytes),
      onEnd: () => resolve(),
    },
    { isHead: false, isUpgrade: false, limits: agentResponseLimits },
  );
  socket.on("data", (bytes: Buffer) => {
    try {
      reader.push(bytes);
    } catch (error) {
      reject(cutOff(error));
    }
  });
  socket.on("error", (error) => reject(cutOff(error)));
  socket.on("close", () => (reader.end() ? resolve() : reject(cutOff())));
  // The socket may be half open: its end is the end.
  socket.on("end", () => socket.destroy());
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  return promise.finally(() => {
    signal.removeEventListener("abort", onAbort);
    socket.destroy();
  });
}

function cutOff(cause?: unknown): SpriteError {
  return new SpriteError("unavailable", "the sprite's agent broke off; try again", { cause });
}
