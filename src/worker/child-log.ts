/**
 * The log of a child: a pipe of which the child holds both ends, so that it can write also while it has no server.
 * The server reads from a copy; the next one finds what was written meanwhile, as far as there was room.
 */
import { constants, openSync } from "node:fs";
import { Socket } from "node:net";
import { logDescriptorKey } from "../contract/agent-startup.ts";
import type { KeptDescriptors } from "./kept-descriptors.ts";

/** Passes on what comes, line by line as it is: a child logs the same structured lines as we do. */
export function passOnLog(kept: KeptDescriptors): void {
  const end = kept.list().find(({ key }) => key === logDescriptorKey);
  if (end === undefined) return;
  // Opened anew: the socket closes what it is given.
  const { O_RDONLY, O_NONBLOCK } = constants;
  const descriptor = openSync(`/proc/self/fd/${end.descriptor}`, O_RDONLY | O_NONBLOCK);
  const reader = new Socket({ fd: descriptor, readable: true, writable: false });
  reader.on("error", () => reader.destroy());
  reader.pipe(process.stderr, { end: false });
}
