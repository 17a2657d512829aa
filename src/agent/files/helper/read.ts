import { close, fstatSync, read as readFile } from "node:fs";
import { promisify } from "node:util";

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

/** One buffer is filled while the one before goes out. */
async function* chunksOf(
  descriptor: number,
  path: string,
  { start, length }: { start: number; length: number },
): AsyncGenerator<Buffer> {
  let [position, missing] = [start, length];
  const next = (): Promise<Buffer> | null => {
    if (missing === 0) return null;
    const wanted = Math.min(missing, chunkBytes);
    const filling = fill(descriptor, path, { position, wanted });
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
  { position, wanted }: { position: number; wanted: number },
): Promise<Buffer> {
  const buffer = Buffer.allocUnsafeSlow(wanted);
  for (let filled = 0; filled < wanted;) {
    let count: number;
    try {
      const rest = wanted - filled;
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
