import { closeSync, readlinkSync, writev } from "node:fs";
import { posix } from "node:path";
import { promisify } from "node:util";

import { FileError } from "../../../contract/file-error.ts";
import type { WriteRequest } from "../../../contract/file-requests.ts";
import type { WrittenFile } from "../file-operations.ts";
import { chunkBytes, flushEveryBytes, linksMax } from "../limits.ts";
import { formatMode, statEntry } from "./entries.ts";
import { NewFile } from "./new-file.ts";
import type { Owner } from "./owners.ts";
import { attempt, closedOnError, entryPath, fileError, type Place, type Root } from "./root.ts";

const writeAsync = promisify(writev);

const newFileMode = 0o644;

/** The place that a new file takes, with the attributes of the file that is there. */
interface Target {
  place: Place;
  mode: number | null;
  owner: Owner;
}

/** Replaces a file's content at once, and keeps its owner and, unless asked otherwise, its mode. */
export async function write(
  root: Root,
  request: WriteRequest,
  body: AsyncIterable<Buffer>,
): Promise<WrittenFile> {
  const { path } = request;
  if (request.parents !== "none") {
    const countMax = request.parents === "one" ? 1 : Infinity;
    root.makeDirectories(posix.dirname(path), { asRoot: request.asRoot, countMax });
  }
  const target = openTarget(root, path, request);
  try {
    const file = attempt("open", path, () => NewFile.create(target.place));
    try {
      const size = await fill(file, body, path);
      const mode = request.mode ?? target.mode ?? newFileMode;
      const hostOwner = root.owners.onHost(target.owner);
      await file.publish({ mode, hostOwner }, { isDurable: true });
      return { path, size, mode: formatMode(mode) };
    } catch (error) {
      throw fileError(error, "write", path);
    } finally {
      file.close(path);
    }
  } finally {
    closeSync(target.place.directory);
  }
}

/** Where the path leads, links followed one by one: the last of them may lead to nothing yet. */
export function openTarget(root: Root, path: string, { asRoot }: { asRoot: boolean }): Target {
  let at = path;
  for (let links = 0; links < linksMax; links += 1) {
    const place = root.openParent(at);
    const found = closedOnError(place.directory, () => look(root, place, path));
    if (found === null) return { place, mode: null, owner: root.owners.ofNew(path, asRoot) };
    if (typeof found !== "string") return { place, ...found };
    closeSync(place.directory);
    // Not normalised: what `..` means depends on where the links before it lead.
    at = found.startsWith("/") ? found : `${posix.dirname(at)}/${found}`;
  }
  throw new FileError("ELOOP", { verb: "open", path });
}

/** The attributes of an ordinary file, where a link leads, or null when there is neither. */
function look(root: Root, place: Place, path: string): Omit<Target, "place"> | string | null {
  return attempt("open", path, () => {
    const found = statEntry(place.directory, place.name);
    if (found === null) return null;
    if (found.isSymbolicLink()) return readlinkSync(entryPath(place.directory, place.name));
    if (found.isFile()) return { mode: found.mode & 0o7777, owner: root.owners.fromHost(found) };
    if (found.isDirectory()) throw new FileError("EISDIR", { verb: "open", path });
    throw new FileError("EINVAL", { verb: "open", path, reason: "no ordinary file" });
  });
}

/** Resolves with the number of bytes. The next part is gathered while the disk takes the one before. */
async function fill(file: NewFile, body: AsyncIterable<Buffer>, path: string): Promise<number> {
  let sizeBytes = 0;
  let flushedBytes = 0;
  let gathered: Buffer[] = [];
  let gatheredBytes = 0;
  let writing: Promise<void> = Promise.resolve();
  let flushing: Promise<void> = Promise.resolve();
  let failure: unknown = null;
  const fail = (error: unknown): void => void (failure ??= error);
  const writeOut = async (): Promise<void> => {
    await writing;
    writing = writeParts(file.descriptor, gathered, sizeBytes - gatheredBytes).catch(fail);
    [gathered, gatheredBytes] = [[], 0];
  };
  for await (const chunk of body) {
    gathered.push(chunk);
    gatheredBytes += chunk.length;
    sizeBytes += chunk.length;
    if (gatheredBytes < chunkBytes) continue;
    await writeOut();
    if (failure !== null) break;
    if (sizeBytes - flushedBytes < flushEveryBytes) continue;
    await flushing;
    flushedBytes = sizeBytes;
    flushing = file.flush().catch(fail);
  }
  if (failure === null) await writeOut();
  await Promise.all([writing, flushing]);
  if (failure !== null) throw fileError(failure, "write", path);
  return sizeBytes;
}

async function writeParts(
  descriptor: number,
  parts: readonly Buffer[],
  position: number,
): Promise<void> {
  let at = position;
  for (let rest = parts; rest.length > 0;) {
    const { bytesWritten } = await writeAsync(descriptor, rest, at);
    at += bytesWritten;
    rest = behind(rest, bytesWritten);
  }
}

/** What is left of the parts after so many bytes. */
function behind(parts: readonly Buffer[], count: number): readonly Buffer[] {
  let left = count;
  for (const [index, part] of parts.entries()) {
    if (left < part.length) return [part.subarray(left), ...parts.slice(index + 1)];
    left -= part.length;
  }
  return [];
}
