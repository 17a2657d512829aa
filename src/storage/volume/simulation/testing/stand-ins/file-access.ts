/**
 * What both stand-ins of the file system do: each call is a step of the simulated process that makes it, and
 * its disk hears of it. The world's own calls, outside of any process, are just calls.
 */
import * as fs from "node:fs";
import { basename } from "node:path";
import { crc32 } from "node:zlib";
import { isDatabase, noSpace, noSuchFile, type SimulatedDisk } from "../simulated-disk.ts";
import type { SimulatedFile } from "../simulated-file.ts";
import { runningProcess, scheduler } from "../scheduler.ts";
import type { SimulatedProcess } from "../simulated-process.ts";

const pageSizeBytes = 4_096;

interface OpenFile {
  disk: SimulatedDisk;
  path: string;
  /** Null for a database, which is a real file, and for a directory. */
  file: SimulatedFile | null;
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
    const { disk } = process;
    if (!isDatabase(path)) return openInMemory(process, path, flags);
    noteDatabaseChange();
    const isNew = flags !== "r" && !fs.existsSync(path);
    if (isNew) disk.makeRealDirectoryOf(path);
    if (!isNew && flags.startsWith("w")) {
      const old = fs.openSync(path, "r");
      disk.willTruncate(old, 0);
      fs.closeSync(old);
    }
    // What a write replaces has to be read.
    const descriptor = fs.openSync(path, flags === "w" ? "w+" : flags, mode);
    if (isNew) disk.made(path);
    const close = (): void => {
      openFiles.delete(descriptor);
      fs.closeSync(descriptor);
    };
    const forget = process.closeAtDeath(close);
    openFiles.set(descriptor, { disk, path, file: null, forget });
    return descriptor;
  });
}

/** Descriptors that no real file has. */
const firstDescriptor = 1 << 24;
let nextDescriptor = firstDescriptor;

function openInMemory(process: SimulatedProcess, path: string, flags: string): number {
  const { disk } = process;
  const isDirectory = disk.isDirectory(path);
  let file = disk.file(path);
  if (file === null && flags.startsWith("r") && !isDirectory) throw noSuchFile(path);
  if (file !== null && flags.startsWith("w")) file.truncate(0);
  if (!isDirectory) file ??= disk.makeFile(path);
  const descriptor = nextDescriptor++;
  const forget = process.closeAtDeath(() => openFiles.delete(descriptor));
  openFiles.set(descriptor, { disk, path, file, forget });
  return descriptor;
}

export function closeNow(descriptor: number): void {
  // A file of a dead process is closed already, and its number may be another's.
  runningProcess()?.check();
  openFiles.get(descriptor)?.forget();
  openFiles.delete(descriptor);
  if (descriptor < firstDescriptor) fs.closeSync(descriptor);
}

export function readNow(
  descriptor: number,
  into: Uint8Array,
  offset: number,
  length: number,
  at: number | null,
): number {
  runningProcess()?.check();
  const file = openFiles.get(descriptor)?.file ?? null;
  if (file === null) return fs.readSync(descriptor, into, offset, length, at);
  return file.read(into, offset, length, at ?? 0);
}

export function writeNow(
  descriptor: number,
  bytes: Uint8Array,
  offset: number,
  length: number,
  at: number | null,
): number {
  const open = openFiles.get(descriptor);
  const process = runningProcess();
  if (open === undefined || process === null) {
    return fs.writeSync(descriptor, bytes, offset, length, at);
  }
  const { file } = open;
  const where = at ?? file?.sizeBytes ?? fs.fstatSync(descriptor).size;
  const write = (size: number): number => {
    if (file !== null) {
      const fitting = open.disk.roomFor(file, where, size);
      return file.write(bytes.subarray(offset, offset + fitting), where);
    }
    if (open.disk.pagesLeft === 0 && scheduler().chance(0.3)) throw noSpace();
    noteDatabaseChange();
    open.disk.willWrite(descriptor, where, size);
    return fs.writeSync(descriptor, bytes, offset, size, where);
  };
  // SQLite's salts, as a local record has them in digits, are no matter of the seed.
  const range = open.path.includes(".json") ? "" : `${where}+${length}`;
  return process.act(
    `write ${nameOf(open.path)} ${range}`,
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
  const open = openFiles.get(descriptor);
  act(`truncate ${nameOf(open?.path ?? "")} ${sizeBytes}`, () => {
    if (open?.file) return open.file.truncate(sizeBytes);
    noteDatabaseChange();
    open?.disk.willTruncate(descriptor, sizeBytes);
    fs.ftruncateSync(descriptor, sizeBytes);
  });
}

export function punchNow(
  descriptor: number,
  { offsetBytes, lengthBytes }: { offsetBytes: number; lengthBytes: number },
): void {
  act(`punch ${offsetBytes}+${lengthBytes}`, () => {
    openFiles.get(descriptor)?.file?.punch(offsetBytes, lengthBytes);
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
  const open = openFiles.get(descriptor);
  if (open === undefined) return;
  if (open.file !== null) open.file.synced();
  else if (isDatabase(open.path)) open.disk.synced(descriptor);
  else open.disk.syncedDirectory(open.path);
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
    else if (process.disk.exists(path)) process.disk.remove(path);
    else if (options.force !== true) throw noSuchFile(path);
  });
}

export function makeDirectoryNow(path: string, options: fs.MakeDirectoryOptions = {}): void {
  const process = runningProcess();
  process?.check();
  if (process === null) fs.mkdirSync(path, { ...options, recursive: true });
  else process.disk.makeDirectory(path);
}

export function existsNow(path: string): boolean {
  const process = runningProcess();
  return process === null ? fs.existsSync(path) : process.disk.exists(path);
}

export function listNow(path: string): string[] {
  const process = runningProcess();
  process?.check();
  const names = process === null ? fs.readdirSync(path) : process.disk.list(path);
  if (names === null) throw noSuchFile(path);
  return names.toSorted();
}

export function readFileNow(path: string): Buffer {
  const process = runningProcess();
  if (process === null) return fs.readFileSync(path);
  const descriptor = path.startsWith("/proc/self/fd/") ? Number(basename(path)) : -1;
  const file = openFiles.get(descriptor)?.file ?? process.disk.file(path);
  if (file !== null) return file.content();
  if (!path.startsWith("/") || (!isDatabase(path) && !path.startsWith("/proc/"))) {
    throw noSuchFile(path);
  }
  return fs.readFileSync(path);
}

export function contentOf(descriptor: number): Buffer {
  return openFiles.get(descriptor)?.file?.content() ?? fs.readFileSync(descriptor);
}

/** Inode numbers and times as the disk shows them: the same after a copy, and in every run. */
export function statOf(descriptor: number): fs.Stats {
  const open = openFiles.get(descriptor);
  if (open?.file) return statOfFile(open.file);
  const stat = fs.fstatSync(descriptor);
  if (open !== undefined) stat.ino = open.disk.inode(stat.ino);
  return stat;
}

export function statNow(path: string): fs.Stats {
  const file = runningProcess()?.disk.file(path) ?? null;
  return file === null ? fs.statSync(path) : statOfFile(file);
}

function statOfFile({ inode, sizeBytes, blocks }: SimulatedFile): fs.Stats {
  return { ino: inode, size: sizeBytes, blocks } as fs.Stats;
}

/** Of each database, as of when something may have changed its file last. */
const fingerprints = new Map<number, { change: number; stat: fs.BigIntStats }>();
let changeCount = 0;

/** SQLite may have written a database's file, and not only its log. */
export function noteDatabaseChange(): void {
  changeCount++;
}

/** A file that changes has other times; which ones must not depend on the machine that simulates. */
export function fingerprintOf(descriptor: number, { ino, size }: fs.Stats): fs.BigIntStats {
  const known = fingerprints.get(descriptor);
  if (known?.change === changeCount && Number(known.stat.size) === size) return known.stat;
  const bytes = Buffer.alloc(size);
  fs.readSync(descriptor, bytes, 0, bytes.length, 0);
  const time = BigInt(crc32(bytes));
  const names = { ino: BigInt(ino), size: BigInt(size) };
  const stat = { ...names, mtimeNs: time, ctimeNs: time } as fs.BigIntStats;
  fingerprints.set(descriptor, { change: changeCount, stat });
  return stat;
}
