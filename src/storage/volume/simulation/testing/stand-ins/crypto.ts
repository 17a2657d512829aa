/** Stands in for `node:crypto`: what is random is the seed's. */
import * as crypto from "node:crypto";
import { runningProcess } from "../scheduler.ts";

export * from "node:crypto";

export function randomBytes(size: number): Buffer {
  const process = runningProcess();
  if (process === null) return crypto.randomBytes(size);
  const bytes = Buffer.alloc(size);
  for (let at = 0; at < size; at++) bytes[at] = process.scheduler.pick(256);
  return bytes;
}
