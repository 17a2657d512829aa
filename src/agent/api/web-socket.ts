import type { Duplex } from "node:stream";
import { type WebSocket, WebSocketServer } from "ws";

import { SpriteError } from "../../contract/errors.ts";
import { closeReasonBytesMax, closeTimeoutMs, messageSizeBytesMax } from "./limits.ts";
import { capabilitiesHeader, versionHeader, writeRawError } from "./responses.ts";
import { openGate, type RequestGate } from "./request-gate.ts";
import { pathSegments, type UpgradeContext } from "./route.ts";

export type Upgrader = (
  context: UpgradeContext,
  onOpen: (socket: WebSocket) => void,
  /** The largest message of a client; without it as large as exec takes. */
  options?: { messageBytesMax: number },
) => void;

/** Makes WebSockets of upgrade requests, with the headers that clients look for on the 101. */
export function createUpgrader(options: {
  version: string;
  capabilities: readonly string[];
  gate?: RequestGate;
}): Upgrader {
  const { gate = openGate } = options;
  const servers = new Map<number, WebSocketServer>();
  return ({ request, socket, head }, onOpen, limits) => {
    const messageBytesMax = limits?.messageBytesMax ?? messageSizeBytesMax;
    const server = servers.get(messageBytesMax) ?? createServer({ ...options, messageBytesMax });
    servers.set(messageBytesMax, server);
    server.handleUpgrade(request, socket, head, (opened) => {
      const [path = ""] = (request.url ?? "").split("?");
      const name = pathSegments(path, "public")?.join("/") ?? path;
      gate.onOpen(socket, name);
      opened.on("message", () => gate.onMessage(name));
      onOpen(opened);
    });
  };
}

function createServer(options: {
  version: string;
  capabilities: readonly string[];
  messageBytesMax: number;
}): WebSocketServer {
  // The types don't know the close timeout yet.
  const serverOptions = {
    noServer: true,
    perMessageDeflate: false,
    maxPayload: options.messageBytesMax,
    closeTimeout: closeTimeoutMs,
  };
  const server = new WebSocketServer(serverOptions);
  server.on("headers", (headers) => {
    headers.push(`${versionHeader}: ${options.version}`);
    if (options.capabilities.length > 0) {
      headers.push(`${capabilitiesHeader}: ${options.capabilities.join(",")}`);
    }
  });
  server.on("wsClientError", (error: Error, socket: Duplex) => {
    const refusal = new SpriteError("invalid_request", error.message, { cause: error });
    writeRawError(socket, refusal, { [versionHeader]: options.version });
  });
  return server;
}

/** Closes with a reason cut to what a close frame holds. */
export function closeSocket(socket: WebSocket, code: number, reason: string): void {
  let cut = reason;
  while (Buffer.byteLength(cut) > closeReasonBytesMax) cut = cut.slice(0, -1);
  socket.close(code, cut);
}
