import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { type WebSocket, WebSocketServer } from "ws";

import { headerLines } from "../../base/raw-response.ts";
import { acceptHeaders } from "../../base/web-socket-handshake.ts";
import { SpriteError } from "../../contract/errors.ts";
import { closeReasonBytesMax, closeTimeoutMs, messageSizeBytesMax } from "./limits.ts";
import { capabilitiesHeader, versionHeader, writeRawError } from "./responses.ts";
import { openGate, type RequestGate } from "./request-gate.ts";
import { pathSegments, type UpgradeContext } from "./route.ts";

export interface Upgrader {
  (
    context: UpgradeContext,
    onOpen: (socket: WebSocket) => void,
    /** The largest message of a client; without it as large as exec takes. */
    options?: { messageBytesMax: number },
  ): void;
  /**
   * Only answers: the frames are the caller's, who says by the function that is returned that the client has sent something.
   * @throws SpriteError invalid_request
   */
  accept(context: UpgradeContext): () => void;
}

/** Makes WebSockets of upgrade requests, with the headers that clients look for on the 101. */
export function createUpgrader(options: {
  version: string;
  capabilities: readonly string[];
  gate?: RequestGate;
}): Upgrader {
  const { gate = openGate } = options;
  const servers = new Map<number, WebSocketServer>();
  const upgrade = (
    { request, socket, head }: UpgradeContext,
    onOpen: (socket: WebSocket) => void,
    limits?: { messageBytesMax: number },
  ): void => {
    const messageBytesMax = limits?.messageBytesMax ?? messageSizeBytesMax;
    const server = servers.get(messageBytesMax) ?? createServer({ ...options, messageBytesMax });
    servers.set(messageBytesMax, server);
    server.handleUpgrade(request, socket, head, (opened) => {
      const name = nameOf(request);
      gate.onOpen(socket, name);
      opened.on("message", () => gate.onMessage(name));
      onOpen(opened);
    });
  };
  const accept = ({ request, socket }: UpgradeContext): (() => void) => {
    const headers = [...acceptHeaders(request.headers), [versionHeader, options.version]];
    socket.write(`HTTP/1.1 101 Switching Protocols\r\n${headerLines(headers.flat())}\r\n`);
    const name = nameOf(request);
    gate.onOpen(socket, name);
    return () => gate.onMessage(name);
  };
  return Object.assign(upgrade, { accept });
}

/** What the connection is called where it is told what goes on. */
function nameOf(request: IncomingMessage): string {
  const [path = ""] = (request.url ?? "").split("?");
  return pathSegments(path, "public")?.join("/") ?? path;
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
