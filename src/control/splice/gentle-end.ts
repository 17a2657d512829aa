/** The end of a connection that has left Node's HTTP server. */

import type { Socket } from "node:net";

import { closeTimeoutMs, drainIdleTimeoutMs } from "./limits.ts";

/**
 * Ends our side and drops what the client still sends. Destroying the socket at once would make the
 * kernel answer that with a reset, and a client that gets a reset may lose our last bytes.
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
