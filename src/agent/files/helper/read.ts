import { close, fstatSync, read as readFile } from "node:fs";
import { promisify } from "node:util";

import { must } from "../../../base/assert.ts";
import { FileError } from "../../../contract/file-error.ts";
import type { ByteRange, ReadRequest } from "../../../contract/file-requests.ts";
import type { FileContent } from "../file-operations.ts";
import { chunkBytes } from "../limits.ts";
import { formatMode } from "./entries.ts";
import { fileError, type Root } from "./root.ts";

const readAsync = promisify(readFile);
const closeAsync = promisify(close);

export interface OpenedFile {
  content: Omit<FileContent, "body">;
  /** Exactly as many bytes as `content` says, to be read to the end or returned from. */
  chunks: AsyncGenerator<Buffer>;
}

/** What is appended while it is read is not part of it. @throws FileError ERANGE */
export function read(root: Root, { path, range }: ReadRequest): OpenedFile {
  const descriptor = root.openContent(path);
  const stats = fstatSync(descriptor, { bigint: true });
  const sizeBytes = Number(stats.size);
  const part = partOf(range, sizeBytes);
  if (part === null) {
    void closeAsync(descriptor);
    throw new FileError("ERANGE", { verb: "read", path, sizeBytes });
  }
  const content = {
    path,
    sizeBytes,
    ...part,
    mode: formatMode(Number(stats.mode)),
    modTimeMs: Number(stats.mtimeMs),
    tag: [stats.ino, stats.size, stats.mtimeNs].map((value) => value.toString(36)).join("-"),
  };
  return { content, chunks: chunksOf(descriptor, path, part) };
}

/** Null when the file holds no byte of it. */
function partOf(
  range: ByteRange | null,
  sizeBytes: number,
): { start: number; length: number } | null {
  if (range === null) return { start: 0, length: sizeBytes };
  if ("last" in range) {
    const length = Math.min(range.last, sizeBytes);
    return length === 0 ? null : { start: sizeBytes - length, length };
  }
  if (range.start >= sizeBytes) return null;
  const end = Math.min(range.end ?? sizeBytes, sizeBytes);
  return { start: range.start, length: Math.max(0, end - range.start) };
}

/**
 * One buffer is filled while the one before goes out. They are used in turn, since new ones cost more
 * than reading does: a chunk holds until the next one but one is asked for.
 */
async function* chunksOf(
  descriptor: number,
  path: string,
  { start, length }: { start: number; length: number },
): AsyncGenerator<Buffer> {
  const size = Math.min(length, chunkBytes);
  const buffers = [Buffer.allocUnsafeSlow(size), Buffer.allocUnsafeSlow(size)];
  let [position, missing] = [start, length];
  const next = (): Promise<Buffer> | null => {
    if (missing === 0) return null;
    const wanted = Math.min(missing, size);
    const buffer = must(buffers.shift(), "there are two");
    buffers.push(buffer);
    const filling = fill(descriptor, path, { buffer: buffer.subarray(0, wanted), position });
    position += wanted;
    missing -= wanted;
    // It may fail while nobody waits for it yet.
    filling.catch(() => undefined);
    return filling;
  };
  let filling = next();
  try {
    while (filling !== null) {
      const bytes = await filling;
      filling = next();
      yield bytes;
    }
  } finally {
    await filling?.catch(() => undefined);
    await closeAsync(descriptor);
  }
}

/** @throws FileError EIO: the file has become shorter */
async function fill(
  descriptor: number,
  path: string,
  { buffer, position }: { buffer: Buffer; position: number },
): Promise<Buffer> {
  for (let filled = 0; filled < buffer.length;) {
    let count: number;
    try {
      const rest = buffer.length - filled;
      ({ bytesRead: count } = await readAsync(descriptor, buffer, filled, rest, position + filled));
    } catch (error) {
      throw fileError(error, "read", path);
    }
    if (count === 0) {
      throw new FileError("EIO", { verb: "read", path, reason: "the file became shorter" });
    }
    filled += count;
  }
  return buffer;
}
