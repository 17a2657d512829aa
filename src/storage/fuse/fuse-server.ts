/**
 * The slow side of the FUSE file system: one flat directory of block files, `live` and read-only
 * others. Gets every request that the fast lane could not serve and writes the reply to /dev/fuse
 * itself.
 */
import { writeSync } from "node:fs";
import { filesMax, nameSizeBytesMax } from "./limits.ts";
import {
  decodeHeader,
  encodeAttributesReply,
  encodeDirectory,
  encodeEntry,
  encodeInit,
  encodeOpen,
  encodeReply,
  encodeStatistics,
  encodeWritten,
  errno,
  fallocateModes,
  inHeaderSizeBytes,
  ioField,
  liveNode,
  type NodeAttributes,
  opcode,
  openFlags,
  type RequestHeader,
  rootNode,
  writeDataOffsetBytes,
} from "./protocol.ts";

/** What a file of the directory can do. Offsets and lengths lie in the file. */
export interface BlockFile {
  readonly sizeBytes: number;
  readonly isWritable: boolean;
  read(offsetBytes: number, lengthBytes: number): Promise<Uint8Array>;
  write(offsetBytes: number, bytes: Uint8Array): Promise<void>;
  punch(offsetBytes: number, lengthBytes: number): Promise<void>;
  flush(): Promise<void>;
}

export interface FuseServerOptions {
  fuseDescriptor: number;
  live: BlockFile;
  /** Hears of an operation that failed for a reason that is not the guest's. */
  onError: (operation: string, error: unknown) => void;
}

/** Thrown to answer with that error, without a report. */
class FuseError extends Error {
  readonly errno: number;
  constructor(number: number) {
    super(`errno ${number}`);
    this.errno = -number;
  }
}

interface Node {
  name: string;
  node: number;
  /** Null while the file is not shown. Its number is kept, since the kernel may know it. */
  file: BlockFile | null;
}

const noReply = Symbol("no reply");
type Body = Uint8Array | null | typeof noReply;

export class FuseServer {
  readonly #descriptor: number;
  readonly #onError: FuseServerOptions["onError"];
  readonly #nodes: Node[] = [];

  constructor(options: FuseServerOptions) {
    this.#descriptor = options.fuseDescriptor;
    this.#onError = options.onError;
    this.#nodes.push({ name: "live", node: liveNode, file: options.live });
  }

  /** Makes the file appear in the directory. */
  show(name: string, file: BlockFile): void {
    const known = this.#nodes.find((node) => node.name === name);
    if (known !== undefined) {
      known.file = file;
      return;
    }
    if (this.#nodes.length >= filesMax) throw new Error("too many files were shown");
    const node = nodeNumber(name);
    if (this.#nodes.some((other) => other.node === node)) {
      throw new Error(`${name} has the number of another file`);
    }
    this.#nodes.push({ name, node, file });
  }

  hide(name: string): void {
    const node = this.#nodes.find((candidate) => candidate.name === name);
    if (node !== undefined && node.node !== liveNode) node.file = null;
  }

  /** Serves one request; never rejects. */
  async handle(request: Uint8Array): Promise<void> {
    const view = new DataView(request.buffer, request.byteOffset, request.byteLength);
    const header = decodeHeader(view);
    let reply: Uint8Array;
    try {
      const body = await this.#serve(header, view, request);
      if (body === noReply) return;
      reply = encodeReply(header.unique, body);
    } catch (error) {
      reply = encodeReply(header.unique, null, this.#errorNumber(header.opcode, error));
    }
    this.#send(reply);
  }

  #send(reply: Uint8Array): void {
    try {
      writeSync(this.#descriptor, reply);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // The one who asked is gone, or the file system is unmounted (then the descriptor may be closed).
      if (code !== "ENOENT" && code !== "ENODEV" && code !== "EBADF") this.#onError("reply", error);
    }
  }

  #errorNumber(operation: number, error: unknown): number {
    if (error instanceof FuseError) return -error.errno;
    this.#onError(`operation ${operation}`, error);
    const { errno: number } = error as NodeJS.ErrnoException;
    return number === -errno.ENOSPC ? errno.ENOSPC : errno.EIO;
  }

  async #serve(header: RequestHeader, view: DataView, request: Uint8Array): Promise<Body> {
    switch (header.opcode) {
      case opcode.read:
        return this.#read(header, view);
      case opcode.write:
        return this.#write(header, view, request);
      case opcode.fsync:
        await this.#file(header.node).flush();
        return null;
      case opcode.fallocate:
        return this.#allocate(header, view);
      case opcode.init: {
        const body = encodeInit(view);
        if (body === null) throw new FuseError(errno.EINVAL);
        return body;
      }
      case opcode.lookup:
        return this.#lookup(header, request);
      case opcode.getattr:
        return encodeAttributesReply(this.#attributes(header.node));
      case opcode.open:
        this.#file(header.node);
        return encodeOpen(openFlags);
      case opcode.readdir:
        return this.#readDirectory(view);
      case opcode.opendir:
      case opcode.releasedir:
      case opcode.release:
        return header.opcode === opcode.opendir ? encodeOpen(0) : null;
      case opcode.statfs:
        return encodeStatistics(this.#file(liveNode).sizeBytes);
      case opcode.forget:
      case opcode.batchForget:
      case opcode.destroy:
        return noReply;
      case opcode.setattr:
        throw new FuseError(errno.EPERM);
      default:
        // ENOSYS tells the kernel never to ask again: for GETXATTR that saves a request before each
        // write, for INTERRUPT it says that every operation is let finish.
        throw new FuseError(errno.ENOSYS);
    }
  }

  async #read(header: RequestHeader, view: DataView): Promise<Body> {
    const file = this.#file(header.node);
    const offset = Number(view.getBigUint64(ioField.offset, true));
    const size = view.getUint32(ioField.size, true);
    const length = Math.min(size, Math.max(0, file.sizeBytes - offset));
    return length === 0 ? null : file.read(offset, length);
  }

  async #write(header: RequestHeader, view: DataView, request: Uint8Array): Promise<Body> {
    const file = this.#writable(header.node);
    const offset = Number(view.getBigUint64(ioField.offset, true));
    const size = view.getUint32(ioField.size, true);
    if (offset + size > file.sizeBytes) throw new FuseError(errno.ENOSPC);
    const bytes = request.subarray(writeDataOffsetBytes, writeDataOffsetBytes + size);
    if (bytes.length > 0) await file.write(offset, bytes);
    return encodeWritten(bytes.length);
  }

  async #allocate(header: RequestHeader, view: DataView): Promise<Body> {
    const file = this.#writable(header.node);
    const offset = Number(view.getBigUint64(inHeaderSizeBytes + 8, true));
    const length = Number(view.getBigUint64(inHeaderSizeBytes + 16, true));
    const mode = view.getUint32(inHeaderSizeBytes + 24, true);
    if (mode !== fallocateModes.punchHole && mode !== fallocateModes.zeroRange) {
      throw new FuseError(errno.EOPNOTSUPP);
    }
    const end = Math.min(offset + length, file.sizeBytes);
    if (end > offset) await file.punch(offset, end - offset);
    return null;
  }

  #lookup(header: RequestHeader, request: Uint8Array): Body {
    const end = request.indexOf(0, inHeaderSizeBytes);
    const bytes = request.subarray(inHeaderSizeBytes, end < 0 ? request.length : end);
    if (header.node !== rootNode || bytes.length > nameSizeBytesMax) {
      throw new FuseError(errno.ENOENT);
    }
    const name = Buffer.from(bytes).toString();
    const found = this.#nodes.find((node) => node.name === name && node.file !== null);
    if (found === undefined) throw new FuseError(errno.ENOENT);
    return encodeEntry(this.#attributes(found.node), found.node === liveNode);
  }

  #attributes(node: number): NodeAttributes {
    if (node === rootNode) return { node, kind: "directory", sizeBytes: 4_096, isWritable: false };
    const { sizeBytes, isWritable } = this.#file(node);
    return { node, kind: "file", sizeBytes, isWritable };
  }

  #readDirectory(view: DataView): Uint8Array {
    const first = Number(view.getBigUint64(ioField.offset, true));
    const sizeBytesMax = view.getUint32(ioField.size, true);
    const entries = [
      { name: ".", node: rootNode, kind: "directory" as const },
      { name: "..", node: rootNode, kind: "directory" as const },
      ...this.#nodes
        .filter(({ file }) => file !== null)
        .map(({ name, node }) => ({ name, node, kind: "file" as const })),
    ];
    return encodeDirectory(entries, first, sizeBytesMax);
  }

  #file(node: number): BlockFile {
    const file = this.#nodes.find((candidate) => candidate.node === node)?.file ?? null;
    if (file === null) throw new FuseError(errno.ENOENT);
    return file;
  }

  #writable(node: number): BlockFile {
    const file = this.#file(node);
    if (!file.isWritable) throw new FuseError(errno.EROFS);
    return file;
  }
}

/**
 * A file's number follows from its name alone, 20 and 32 bits of two FNV-1a sums: the server that
 * takes over from a dead one must not give a number that the kernel remembers to another file.
 */
export function nodeNumber(name: string): number {
  if (name === "live") return liveNode;
  let high = 0x811c_9dc5;
  let low = 0x9dc5_811c;
  for (const byte of Buffer.from(name)) {
    high = Math.imul(high ^ byte, 0x0100_0193);
    low = Math.imul(low ^ byte, 0x0100_0193);
  }
  return ((high >>> 12) + 1) * 0x1_0000_0000 + (low >>> 0);
}
