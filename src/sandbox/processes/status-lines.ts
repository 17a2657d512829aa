import { Socket } from "node:net";

import { statusLineBytesMax } from "./limits.ts";

export type StatusLine =
  | { type: "ready" }
  /** The index is that of the executable among the candidates, or -1 when it was not found. */
  | { type: "started"; pid: number; index: number }
  | { type: "exited"; code: number };

/**
 * Understands one line that a shell program wrote; null for anything else, which only a hostile
 * guest writes.
 */
export function parseStatusLine(line: string): StatusLine | null {
  if (line === "ready") return { type: "ready" };
  const started = /^p ([1-9][0-9]{0,9}) (-1|[0-9]{1,6})$/.exec(line);
  if (started !== null) {
    return { type: "started", pid: Number(started[1]), index: Number(started[2]) };
  }
  const exited = /^x ([0-9]{1,3})$/.exec(line);
  return exited === null ? null : { type: "exited", code: Number(exited[1]) & 0xff };
}

/** Reads the status FIFO behind a descriptor, which it owns, until every writer has closed it. */
export function readStatusLines(
  fd: number,
  listener: { onLine: (line: StatusLine) => void; onEnd: () => void },
): { close: () => void } {
  const socket = new Socket({ fd, readable: true, writable: false });
  let rest = "";
  socket.setEncoding("latin1");
  socket.on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      const status = parseStatusLine(line);
      if (status !== null) listener.onLine(status);
    }
    if (rest.length > statusLineBytesMax) socket.destroy();
  });
  // Every way to end, also an error, comes to "close".
  socket.on("error", () => undefined);
  socket.once("close", listener.onEnd);
  return { close: () => socket.destroy() };
}
