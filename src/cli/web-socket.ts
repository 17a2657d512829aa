import { WebSocket } from "ws";
import type { ApiClient, Query } from "./api-client.ts";
import { apiError, connectionError } from "./api-errors.ts";
import { errorBodyBytesMax, frameSizeBytesMax, handshakeTimeoutMsMax } from "./limits.ts";

/** Begins a handshake. Frames may arrive together with its answer: listen before awaiting `accepted`. */
export function connectWebSocket(client: ApiClient, path: string, query: Query = []): WebSocket {
  return new WebSocket(client.webSocketUrl(path, query), {
    headers: client.headers,
    handshakeTimeout: handshakeTimeoutMsMax,
    perMessageDeflate: false,
    maxPayload: frameSizeBytesMax,
  });
}

/** Resolves when the server has accepted. @throws CliError with the server's own words when it refuses */
export async function accepted(socket: WebSocket, client: ApiClient): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    socket.once("open", resolve);
    socket.once("error", (cause) => reject(connectionError(cause, client.target)));
    socket.once("unexpected-response", (request, response) => {
      const chunks: Buffer[] = [];
      let sizeBytes = 0;
      response.on("data", (chunk: Buffer) => {
        sizeBytes += chunk.byteLength;
        if (sizeBytes <= errorBodyBytesMax) chunks.push(chunk);
      });
      const finish = (): void => {
        const body = Buffer.concat(chunks).toString("utf8").trim();
        const { statusCode, headers } = response;
        reject(apiError({ status: statusCode ?? 0, body, headers, target: client.target }));
        request.destroy();
      };
      response.on("end", finish);
      response.on("error", finish);
    });
  });
}
