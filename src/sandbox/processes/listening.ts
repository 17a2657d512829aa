import { closeSync, openSync, readSync } from "node:fs";

import { listenersTextBytesMax } from "./limits.ts";

/** `TCP_LISTEN` as /proc/net/tcp writes it. */
const listenState = "0A";

/** Looks into one of the kernel's tables of TCP sockets, which begins with those that listen. */
export function hasListener(tablePath: string, port: number): boolean {
  return listensAt(readBeginning(tablePath), port);
}

/** The text of a table, as far as it was read. */
export function listensAt(table: string, port: number): boolean {
  const portText = port.toString(16).toUpperCase().padStart(4, "0");
  for (const line of table.split("\n").slice(1)) {
    const [, local, , state] = line.trim().split(/\s+/);
    if (state !== undefined && state !== listenState) return false;
    if (local?.endsWith(`:${portText}`) === true) return true;
  }
  return false;
}

function readBeginning(path: string): string {
  let descriptor: number;
  try {
    descriptor = openSync(path, "r");
  } catch {
    // The container has ended, or there is no IPv6.
    return "";
  }
  try {
    const bytes = Buffer.alloc(listenersTextBytesMax);
    let size = 0;
    for (;;) {
      const count = readSync(descriptor, bytes, size, bytes.length - size, null);
      if (count === 0) break;
      size += count;
    }
    return bytes.toString("latin1", 0, size);
  } finally {
    closeSync(descriptor);
  }
}
