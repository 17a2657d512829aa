/** Stands in for `node:fs` in the storage room while it is simulated. */
import * as fs from "node:fs";
import { runningProcess } from "../scheduler.ts";
import {
  act,
  closeNow,
  existsNow,
  fingerprintOf,
  listNow,
  makeDirectoryNow,
  markSynced,
  nameOf,
  openNow,
  readFileNow,
  readNow,
  removeNow,
  renameNow,
  statNow,
  statOf,
  syncNow,
  syncStep,
  truncateNow,
  writeNow,
} from "./file-access.ts";

export * from "node:fs";

export {
  closeNow as closeSync,
  existsNow as existsSync,
  listNow as readdirSync,
  makeDirectoryNow as mkdirSync,
  openNow as openSync,
  readNow as readSync,
  removeNow as rmSync,
  renameNow as renameSync,
  statNow as statSync,
  syncNow as fdatasyncSync,
  syncNow as fsyncSync,
  truncateNow as ftruncateSync,
  writeNow as writeSync,
};

export function fdatasync(descriptor: number, done: (error: Error | null) => void): void {
  const process = runningProcess();
  if (process === null) return fs.fdatasync(descriptor, done);
  if (process.isDead) return;
  process.scheduler.schedule(process.scheduler.random(), process, () => {
    try {
      process.act(syncStep(descriptor), () => markSynced(descriptor));
    } catch (error) {
      if (!process.isDead) done(error as Error);
      return;
    }
    done(null);
  });
}

export function truncateSync(path: string, sizeBytes: number): void {
  const descriptor = openNow(path, "r+");
  truncateNow(descriptor, sizeBytes);
  closeNow(descriptor);
}

export function writeFileSync(path: string, bytes: Uint8Array | string): void {
  const descriptor = openNow(path, "w");
  const content = Buffer.from(bytes as string);
  try {
    for (let done = 0; done < content.length;) {
      done += writeNow(descriptor, content, done, content.length - done, done);
    }
  } finally {
    closeNow(descriptor);
  }
}

export function fstatSync(
  descriptor: number,
  options?: { bigint?: boolean },
): fs.Stats | fs.BigIntStats {
  runningProcess()?.check();
  const stat = statOf(descriptor);
  return options?.bigint === true ? fingerprintOf(descriptor, stat) : stat;
}

export function statfsSync(): { bavail: number; bsize: number; blocks: number } {
  const pagesLeft = runningProcess()?.disk.pagesLeft ?? Infinity;
  return { bavail: Math.min(1 << 20, pagesLeft), bsize: 4_096, blocks: 1 << 21 };
}

export function readFileSync(path: string, encoding?: BufferEncoding): unknown {
  return act(`read ${nameOf(path)}`, () => {
    const bytes = readFileNow(path);
    return encoding === undefined ? bytes : bytes.toString(encoding);
  });
}
