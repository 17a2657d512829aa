/**
 * A machine's disk, which forgets in a host crash what was not synced: each page written since its file's last
 * sync stays or goes, and so does each change of names since its directory's, the later ones first. Databases are
 * real files, since SQLite opens them; a crash copies those, so that what the dead process still has open is not what
 * the next one finds. All others are kept here.
 */
import {
  copyFileSync,
  existsSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  closeSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import type { Scheduler } from "./scheduler.ts";
import { SimulatedFile } from "./simulated-file.ts";
import type { CrashKind } from "./simulated-process.ts";

const pageSizeBytes = 4_096;
/** A page of a map and its header, in SQLite's write-ahead log. */
const walFrameSizeBytes = 24 + 4_096;
const atticName = "attic";

/** What the disk has of a file until it is synced. */
interface Unsynced {
  sizeBytes: number;
  /** Pages as they were. */
  pages: Map<number, Buffer>;
}

type NameChange = { paths: readonly string[]; undo: () => void };

/** Whether SQLite has it, or will: a database, its log, or a draft of one. */
export function isDatabase(path: string): boolean {
  return path.includes(".db", path.lastIndexOf("/"));
}

export class SimulatedDisk {
  readonly #root: string;
  readonly #scheduler: Scheduler;
  #generation = -1;
  #directory = "";
  #atticCount = 0;
  /** By the file's real inode number. */
  readonly #unsynced = new Map<number, Unsynced>();
  #nameChanges: NameChange[] = [];
  /** By their paths in the directory. */
  readonly #files = new Map<string, SimulatedFile>();
  readonly #directories = new Set<string>([""]);
  /** Above which it is full. */
  #pagesMax = Infinity;
  /** A copied file keeps the number that the process before has seen. */
  readonly #inodes = new Map<number, number>();
  #nextInode = 1;

  constructor(root: string, scheduler: Scheduler) {
    this.#root = root;
    this.#scheduler = scheduler;
    this.#nextDirectory();
  }

  /** Where the files are now; another place after every crash. */
  get directory(): string {
    return this.#directory;
  }

  #nextDirectory(): void {
    this.#generation++;
    this.#directory = `${this.#root}/g${this.#generation}`;
    mkdirSync(`${this.#directory}/${atticName}`, { recursive: true });
  }

  #name(path: string): string {
    return path.slice(this.#directory.length + 1);
  }

  /** Null for a database, and for what is not there. */
  file(path: string): SimulatedFile | null {
    return this.#files.get(this.#name(path)) ?? null;
  }

  exists(path: string): boolean {
    if (isDatabase(path)) return existsSync(path);
    const name = this.#name(path);
    return this.#files.has(name) || this.#directories.has(name);
  }

  isDirectory(path: string): boolean {
    return this.#directories.has(this.#name(path));
  }

  makeFile(path: string): SimulatedFile {
    const file = new SimulatedFile(this.#nextInode++);
    const name = this.#name(path);
    this.#files.set(name, file);
    this.#nameChanges.push({ paths: [path], undo: () => this.#files.delete(name) });
    return file;
  }

  makeDirectory(path: string): void {
    for (let name = this.#name(path); name !== "."; name = dirname(name)) {
      this.#directories.add(name);
    }
  }

  /** The directory of a database has to be a real one. */
  makeRealDirectoryOf(path: string): void {
    const directory = dirname(path);
    if (directory !== this.directory) mkdirSync(directory, { recursive: true });
  }

  /** Names in a directory, in order; null when there is none. */
  list(path: string): string[] | null {
    const name = this.#name(path);
    if (!this.#directories.has(name)) return null;
    const names = [...this.#files.keys(), ...this.#directories]
      .filter((each) => each !== "" && dirname(each) === (name === "" ? "." : name))
      .map((each) => basename(each));
    return [...names, ...this.#databasesIn(path)].toSorted();
  }

  #databasesIn(path: string): string[] {
    return existsSync(path) ? readdirSync(path).filter((name) => isDatabase(name)) : [];
  }

  /** Somebody else fills it up, but for so many pages. */
  fill(pagesLeft: number): void {
    this.#scheduler.trace(`${this.#root.slice(-4)} has ${pagesLeft} pages left`);
    this.#pagesMax = this.#pagesUsed + pagesLeft;
  }

  /** There is room again. */
  relieve(): void {
    this.#pagesMax = Infinity;
  }

  get pagesLeft(): number {
    return this.#pagesMax === Infinity ? Infinity : Math.max(0, this.#pagesMax - this.#pagesUsed);
  }

  get #pagesUsed(): number {
    let used = 0;
    for (const { pageCount } of this.#files.values()) used += pageCount;
    return used;
  }

  /** How many of so many bytes can be written. @throws ENOSPC: none */
  roomFor(file: SimulatedFile, at: number, length: number): number {
    const { pagesLeft } = this;
    if (pagesLeft === Infinity || length === 0) return length;
    const fitting = file.fitting(at, length, pagesLeft);
    if (fitting === 0) throw noSpace();
    return fitting;
  }

  inode(real: number): number {
    let known = this.#inodes.get(real);
    if (known === undefined) {
      known = this.#nextInode++;
      this.#inodes.set(real, known);
    }
    return known;
  }

  /** Remembers what a write is about to replace. */
  willWrite(descriptor: number, offset: number, length: number): void {
    this.#willChange(fstatSync(descriptor), descriptor, { offset, end: offset + length });
  }

  willTruncate(descriptor: number, sizeBytes: number): void {
    const stat = fstatSync(descriptor);
    this.#willChange(stat, descriptor, { offset: sizeBytes, end: stat.size });
  }

  #willChange(
    { ino, size }: { ino: number; size: number },
    descriptor: number,
    { offset, end }: { offset: number; end: number },
  ): void {
    let unsynced = this.#unsynced.get(ino);
    if (unsynced === undefined) {
      unsynced = { sizeBytes: size, pages: new Map() };
      this.#unsynced.set(ino, unsynced);
    }
    for (let page = Math.floor(offset / pageSizeBytes); page * pageSizeBytes < end; page++) {
      if (unsynced.pages.has(page)) continue;
      // Past the file's end these are zeros, as a file system may show them that grew the file before it wrote.
      const bytes = Buffer.alloc(pageSizeBytes);
      readSync(descriptor, bytes, 0, pageSizeBytes, page * pageSizeBytes);
      unsynced.pages.set(page, bytes);
    }
  }

  synced(descriptor: number): void {
    this.#unsynced.delete(fstatSync(descriptor).ino);
  }

  /** SQLite syncs what it writes. */
  syncedByDatabase(path: string): void {
    if (existsSync(path)) this.#unsynced.delete(statSync(path).ino);
  }

  made(path: string): void {
    this.#nameChanges.push({ paths: [path], undo: () => rmSync(path, { force: true }) });
  }

  remove(path: string): void {
    if (isDatabase(path)) {
      if (!existsSync(path)) return;
      const kept = this.#toAttic(path);
      this.#nameChanges.push({ paths: [path], undo: () => renameSync(kept, path) });
      return;
    }
    const name = this.#name(path);
    const gone = [...this.#files].filter(([each]) => isWithin(each, name));
    for (const directory of [...this.#directories].filter((each) => isWithin(each, name))) {
      for (const each of this.#databasesIn(join(this.directory, directory))) {
        this.remove(join(this.directory, directory, each));
      }
      this.#directories.delete(directory);
    }
    for (const [each] of gone) this.#files.delete(each);
    this.#nameChanges.push({
      paths: [path],
      undo: () => {
        for (const [each, file] of gone) this.#files.set(each, file);
      },
    });
  }

  rename(from: string, to: string): void {
    if (isDatabase(from)) return this.#renameDatabase(from, to);
    const [old, next] = [this.#name(from), this.#name(to)];
    if (this.#directories.has(old)) return this.#renameDirectory(from, to);
    const file = this.#files.get(old);
    if (file === undefined) throw noSuchFile(from);
    const replaced = this.#files.get(next);
    this.#files.delete(old);
    this.#files.set(next, file);
    this.#nameChanges.push({
      paths: [from, to],
      undo: () => {
        this.#files.delete(next);
        this.#files.set(old, file);
        if (replaced !== undefined) this.#files.set(next, replaced);
      },
    });
  }

  /** As if each file in it were renamed; it stays when the power goes. */
  #renameDirectory(from: string, to: string): void {
    this.makeDirectory(to);
    for (const name of this.list(from) ?? []) this.rename(join(from, name), join(to, name));
    this.#directories.delete(this.#name(from));
  }

  #renameDatabase(from: string, to: string): void {
    this.makeRealDirectoryOf(to);
    const replaced = existsSync(to) ? this.#toAttic(to) : null;
    renameSync(from, to);
    this.#nameChanges.push({
      paths: [from, to],
      undo: () => {
        renameSync(to, from);
        if (replaced !== null) renameSync(replaced, to);
      },
    });
  }

  /** A journal keeps order: with a directory's names all that was before them is on the disk. */
  syncedDirectory(directory: string): void {
    const last = this.#nameChanges.findLastIndex(({ paths }) =>
      paths.some((path) => dirname(path) === directory),
    );
    this.#nameChanges.splice(0, last + 1);
  }

  #toAttic(path: string): string {
    const kept = join(this.directory, atticName, String(this.#atticCount++));
    renameSync(path, kept);
    return kept;
  }

  /** @param torn a file of which the last write was in progress */
  crash(kind: CrashKind, torn: { path: string; before: Buffer } | null): void {
    const from = this.directory;
    if (torn !== null) this.#tear(torn);
    if (kind === "host") this.#forgetNames();
    const loss = kind === "host" ? this.#scheduler.choose([0, 0.3, 0.7, 1]) : null;
    this.#nextDirectory();
    this.#copy(from, this.directory, loss);
    if (loss !== null) for (const file of this.#files.values()) file.forget(this.#scheduler, loss);
    this.#unsynced.clear();
    this.#nameChanges = [];
  }

  /** One byte of one file becomes another, or a file ends earlier, as a bad disk or a careless person leaves it. */
  damage(): void {
    const files = (this.list(this.directory) ?? []).filter((name) => !this.#directories.has(name));
    if (files.length === 0) return;
    const name = this.#scheduler.choose(files);
    const file = this.#files.get(name);
    const path = join(this.directory, name);
    const bytes = file?.content() ?? readFileSync(path);
    if (bytes.length === 0) return;
    const { at, says } = name.endsWith(".json") ? this.#placeInJson(bytes) : this.#place(bytes);
    this.#scheduler.trace(`damage ${name} at ${says}`);
    const isCut = this.#scheduler.chance(0.3);
    const changed = bytes.subarray(at, at + 1);
    if (!isCut) changed[0] = (changed[0] as number) ^ (1 << this.#scheduler.pick(8));
    if (file !== undefined) {
      if (isCut) file.truncate(at);
      else file.write(changed, at);
      return file.synced();
    }
    if (isCut) return truncateSync(path, at);
    const descriptor = openSync(path, "r+");
    writeSync(descriptor, changed, 0, 1, at);
    closeSync(descriptor);
  }

  /** Where something is, rather than in a hole. */
  #place(bytes: Buffer): { at: number; says: string } {
    const start = this.#scheduler.pick(bytes.length);
    const found = bytes.findIndex((byte, index) => index >= start && byte !== 0);
    const at = found < 0 ? start : found;
    return { at, says: String(at) };
  }

  /**
   * A place in a field's name, or where its value begins. Numbers that SQLite draws by itself stand in such files,
   * with more digits in one run than in another: counted in bytes, the same seed would not hit the same field.
   */
  #placeInJson(bytes: Buffer): { at: number; says: string } {
    const names = [...bytes.toString("latin1").matchAll(/"\w+":/g)];
    if (names.length === 0) return this.#place(bytes);
    const { 0: name, index } = this.#scheduler.choose(names);
    const offset = this.#scheduler.pick(name.length + 1);
    return { at: Math.min(index + offset, bytes.length - 1), says: `${name} ${offset}` };
  }

  /** Loses all that is on it. */
  wipe(): void {
    this.relieve();
    this.#files.clear();
    this.#directories.clear();
    this.#directories.add("");
    this.#unsynced.clear();
    this.#nameChanges = [];
    this.#nextDirectory();
  }

  #forgetNames(): void {
    const kept = this.#scheduler.pick(this.#nameChanges.length + 1);
    for (const { undo } of this.#nameChanges.slice(kept).toReversed()) {
      try {
        undo();
      } catch (error) {
        // SQLite removes its files by itself; what is gone cannot come back.
        if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
      }
    }
  }

  #tear({ path, before }: { path: string; before: Buffer }): void {
    if (!existsSync(path)) return;
    const after = readFileSync(path);
    const differs = after.findIndex((byte, index) => byte !== before[index]);
    if (differs < 0) return;
    // From the frame's begin on: which of its bytes differ first is SQLite's own luck, not the seed's.
    const first = differs < 32 ? 0 : differs - ((differs - 32) % walFrameSizeBytes);
    const kept = first + this.#scheduler.pick(after.length - first);
    const rest = before.subarray(kept, Math.max(kept, before.length));
    writeFileSync(path, Buffer.concat([after.subarray(0, kept), rest]));
  }

  #copy(from: string, to: string, loss: number | null): void {
    for (const entry of readdirSync(from, { withFileTypes: true }).toSorted((a, b) =>
      a.name < b.name ? -1 : 1,
    )) {
      const source = join(from, entry.name);
      const target = join(to, entry.name);
      if (entry.isDirectory()) {
        if (entry.name === atticName) continue;
        mkdirSync(target);
        this.#copy(source, target, loss);
        continue;
      }
      // SQLite's index of its log does not outlive the processes that use it.
      if (entry.name.endsWith("-shm")) continue;
      const { ino, size, blocks } = statSync(source);
      if (blocks === 0) writeFileSync(target, "");
      if (blocks === 0) truncateSync(target, size);
      else copyFileSync(source, target);
      this.#inodes.set(statSync(target).ino, this.inode(ino));
      const unsynced = this.#unsynced.get(ino);
      if (loss !== null && unsynced !== undefined) this.#forget(target, unsynced, loss);
    }
  }

  #forget(path: string, unsynced: Unsynced, loss: number): void {
    const descriptor = openSync(path, "r+");
    if (this.#scheduler.chance(loss)) ftruncateSync(descriptor, unsynced.sizeBytes);
    for (const [page, bytes] of unsynced.pages) {
      if (!this.#scheduler.chance(loss)) continue;
      const length = Math.min(pageSizeBytes, fstatSync(descriptor).size - page * pageSizeBytes);
      if (length > 0) writeSync(descriptor, bytes, 0, length, page * pageSizeBytes);
    }
    closeSync(descriptor);
  }
}

function isWithin(name: string, directory: string): boolean {
  return name === directory || name.startsWith(`${directory}/`);
}

export function noSpace(): Error {
  return Object.assign(new Error("ENOSPC: no space left on device"), {
    code: "ENOSPC",
    errno: -28,
  });
}

export function noSuchFile(path: string): Error {
  return Object.assign(new Error(`ENOENT: no such file or directory, '${path}'`), {
    code: "ENOENT",
  });
}
