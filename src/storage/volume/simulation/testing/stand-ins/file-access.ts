/**
 * What both stand-ins of the file system do: each call is a step of the simulated process that makes it, and
 * its disk hears of it. The world's own calls, outside of any process, are just calls.
 */
import * as fs from "node:fs";
import type { SimulatedDisk } from "../simulated-disk.ts";
import { reserveSizeBytes } from "../../../../chunk-cache/limits.ts";
import { runningProcess, scheduler } from "../scheduler.ts";
import type { SimulatedProcess } from "../simulated-process.ts";

const pageSizeBytes = 4_096;

interface OpenFile {
  disk: SimulatedDisk;
  path: string;
  isDirectory: boolean;
  forget: () => void;
}

const openFiles = new Map<number, OpenFile>();

/** Name of a step: of the path what stays the same from run to run. */
export function nameOf(path: string): string {
  return path.slice(path.indexOf("/g", path.indexOf("sim-")) + 1);
}

export function act<T>(what: string, work: (process: SimulatedProcess | null) => T): T {
  const process = runningProcess();
  if (process === null) return work(null);
  return process.act(what, () => work(process));
}

export function openNow(path: string, flags: string, mode?: number): number {
  return act(`open ${flags} ${nameOf(path)}`, (process) => {
    if (process === null || path.startsWith("/proc/")) return fs.openSync(path, flags, mode);
    const isNew = flags !== "r" && !fs.existsSync(path);
    if (!isNew && flags.startsWith("w")) {
      const old = fs.openSync(path, "r");
      process.disk.willTruncate(old, 0);
      fs.closeSync(old);
    }
    // What a write replaces has to be read.
    const descriptor = fs.openSync(path, flags === "w" ? "w+" : flags, mode);
    if (isNew) process.disk.made(path);
    const close = (): void => {
      openFiles.delete(descriptor);
      fs.closeSync(descriptor);
    };
    const forget = process.closeAtDeath(close);
    const isDirectory = flags === "r" && fs.fstatSync(descriptor).isDirectory();
    openFiles.set(descriptor, { disk: process.disk, path, isDirectory, forget });
    return descriptor;
  });
}

export function closeNow(descriptor: number): void {
  // A file of a dead process is closed already, and its number may be another's.
  runningProcess()?.check();
  openFiles.get(descriptor)?.forget();
  openFiles.delete(descriptor);
  fs.closeSync(descriptor);
}

export function readNow(
  descriptor: number,
  into: Uint8Array,
  offset: number,
  length: number,
  at: number | null,
): number {
  runningProcess()?.check();
  return fs.readSync(descriptor, into, offset, length, at);
}

export function writeNow(
  descriptor: number,
  bytes: Uint8Array,
  offset: number,
  length: number,
  at: number | null,
): number {
  const file = openFiles.get(descriptor);
  const process = runningProcess();
  if (file === undefined || process === null) {
    return fs.writeSync(descriptor, bytes, offset, length, at);
  }
  const where = at ?? fs.fstatSync(descriptor).size;
  const write = (size: number): number => {
    // Room that is taken in advance: nothing but its size matters, and it would be copied at every crash.
    if (size >= reserveSizeBytes) {
      fs.ftruncateSync(descriptor, where + size);
      return size;
    }
    file.disk.willWrite(descriptor, where, size);
    return fs.writeSync(descriptor, bytes, offset, size, at);
  };
  // SQLite's salts, as a local record has them in digits, are no matter of the seed.
  const range = file.path.includes(".json") ? "" : `${where}+${length}`;
  return process.act(
    `write ${nameOf(file.path)} ${range}`,
    () => write(length),
    // The kernel copies page by page, and looks between two whether the process is to die.
    () => write(wholePages(where, scheduler().pick(length))),
  );
}

/** Of so many bytes from there on, those in pages that are written to their end. */
function wholePages(offset: number, length: number): number {
  const end = offset + length;
  return Math.max(0, end - (end % pageSizeBytes) - offset);
}

export function truncateNow(descriptor: number, sizeBytes: number): void {
  const file = openFiles.get(descriptor);
  act(`truncate ${nameOf(file?.path ?? "")} ${sizeBytes}`, () => {
    file?.disk.willTruncate(descriptor, sizeBytes);
    fs.ftruncateSync(descriptor, sizeBytes);
  });
}

/** The files are in memory: what a sync does is that the simulated disk forgets no more. */
export function syncNow(descriptor: number): void {
  const file = openFiles.get(descriptor);
  act(`sync ${nameOf(file?.path ?? "")}`, () => markSynced(descriptor));
}

export function syncStep(descriptor: number): string {
  return `sync ${nameOf(openFiles.get(descriptor)?.path ?? "")}`;
}

export function markSynced(descriptor: number): void {
  const file = openFiles.get(descriptor);
  if (file === undefined) return;
  if (file.isDirectory) file.disk.syncedDirectory(file.path);
  else file.disk.synced(descriptor);
}

export function renameNow(from: string, to: string): void {
  act(`rename ${nameOf(from)} ${nameOf(to)}`, (process) => {
    if (process === null) fs.renameSync(from, to);
    else process.disk.rename(from, to);
  });
}

export function removeNow(path: string, options: fs.RmOptions = {}): void {
  act(`remove ${nameOf(path)}`, (process) => {
    if (process === null) fs.rmSync(path, options);
    else if (fs.existsSync(path)) process.disk.remove(path);
    else if (options.force !== true) fs.rmSync(path, options);
  });
}

export function makeDirectoryNow(path: string, options: fs.MakeDirectoryOptions = {}): void {
  runningProcess()?.check();
  fs.mkdirSync(path, { ...options, recursive: true });
}

/** Inode numbers and times as the disk shows them: the same after a copy, and in every run. */
export function statOf(descriptor: number, stat: fs.Stats): fs.Stats {
  const file = openFiles.get(descriptor);
  if (file !== undefined) stat.ino = file.disk.inode(stat.ino);
  return stat;
}
