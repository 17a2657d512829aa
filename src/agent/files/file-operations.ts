/**
 * What can be done with the files of a sprite, as its API offers it (contract.md section 7): the
 * HTTP endpoints and the control connection both speak to this.
 */
import type { Readable } from "node:stream";

import type {
  ChangeModeRequest,
  ChangeOwnerRequest,
  CopyRequest,
  ListRequest,
  ReadRequest,
  RemoveRequest,
  RenameRequest,
  WatchRequest,
  WriteRequest,
} from "../../contract/file-requests.ts";

export interface FileContent {
  path: string;
  /** Of the whole file, in bytes, when it was opened. */
  sizeBytes: number;
  /** What of it the body holds: `length` bytes from `start`. */
  start: number;
  length: number;
  mode: string;
  modTimeMs: number;
  /** Differs when the content does. */
  tag: string;
  /** Exactly `length` bytes, or an error. */
  body: Readable;
}

export interface WrittenFile {
  path: string;
  size: number;
  /** Permission bits as four octal digits; so everywhere. */
  mode: string;
}

export interface Entry {
  name: string;
  path: string;
  /** `other`: a FIFO, a socket or a device, whose content cannot be read here. */
  type: "file" | "directory" | "symlink" | "other";
  size: number;
  mode: string;
  modTime: string;
  isDir: boolean;
  /** Where a symbolic link leads, as it says; only of one that is listed by its directory. */
  target?: string;
}

export interface Listing {
  path: string;
  /** Sorted by name within each directory; breaks off with an error that comes late. */
  batches: AsyncIterable<readonly Entry[]>;
}

export interface RemovedFiles {
  deleted: readonly string[];
  count: number;
}

export interface RenamedFile {
  source: string;
  dest: string;
}

/** Lists are cut at a maximum, counts are not. */
export interface CopiedFiles {
  copied: ReadonlyArray<{ source: string; dest: string }>;
  count: number;
  totalBytes: number;
  /** FIFOs, sockets and devices, which have no content to copy. */
  skipped?: readonly string[];
}

export interface ChangedModes {
  affected: ReadonlyArray<{ path: string; mode: string }>;
  count: number;
}

export interface ChangedOwners {
  affected: ReadonlyArray<{ path: string; uid: number; gid: number }>;
  count: number;
}

export interface FileEvent {
  path: string;
  /** As in Go's fsnotify: a rename is one of the old name, and the new name's create. */
  event: "write" | "create" | "remove" | "rename" | "chmod";
  /** In bytes; 0 of what is gone. */
  size: number;
  isDir: boolean;
  timeMs: number;
}

/** Changes as they happen, or what kept some from being seen, in words for people. Ends with the container. */
export type WatchEvents = AsyncIterable<FileEvent | { lost: string }>;

/**
 * Every operation acts inside the sprite's own view of its files, as the sprite's root, and waits while
 * the container is being replaced. All throw FileError, and SpriteError `unavailable` when the
 * container ends meanwhile. A signal that aborts ends the operation; a write then leaves no trace.
 */
export interface FileOperations {
  read(request: ReadRequest, signal: AbortSignal): Promise<FileContent>;
  /** The file appears whole, and synced, when this resolves; until then the old one is there. */
  write(
    request: WriteRequest,
    body: AsyncIterable<Buffer>,
    signal: AbortSignal,
  ): Promise<WrittenFile>;
  list(request: ListRequest, signal: AbortSignal): Promise<Listing>;
  remove(request: RemoveRequest, signal: AbortSignal): Promise<RemovedFiles>;
  rename(request: RenameRequest, signal: AbortSignal): Promise<RenamedFile>;
  copy(request: CopyRequest, signal: AbortSignal): Promise<CopiedFiles>;
  changeMode(request: ChangeModeRequest, signal: AbortSignal): Promise<ChangedModes>;
  changeOwner(request: ChangeOwnerRequest, signal: AbortSignal): Promise<ChangedOwners>;
  /** Resolves once every change from now on will be seen. */
  watch(request: WatchRequest, signal: AbortSignal): Promise<WatchEvents>;
}
