import { createReadStream, type Stats } from "node:fs";
import { lstat, readdir, readlink, stat } from "node:fs/promises";
import { join, posix } from "node:path";
import { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { CliError } from "../errors.ts";
import { copyConcurrency, copyEntriesMax, copyRetriesMax, copyRetryDelayMs } from "../limits.ts";
import { printable } from "../text.ts";
import { forEachOf, type Progress } from "./progress.ts";
import type { RemoteFiles } from "./remote-files.ts";

/** What directories get that the server makes on the way. */
const directoryModeDefault = 0o755;

interface Job {
  source: string;
  dest: string;
  mode: number;
}

interface Plan {
  files: Job[];
  /** Those that no file of the plan makes. */
  emptyDirectories: Job[];
  /** Those whose mode is not the usual one. */
  modes: Job[];
  links: { path: string; target: string }[];
}

/** A local file's content, under a name in the sprite, where it appears when it is whole. */
export async function uploadFile(files: RemoteFiles, job: Job, progress: Progress): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    let sent = 0;
    const counted = async function* (): AsyncGenerator<Buffer> {
      for await (const piece of createReadStream(job.source)) {
        sent += (piece as Buffer).length;
        progress.addBytes((piece as Buffer).length);
        yield piece as Buffer;
      }
    };
    const source = Readable.from(counted(), { objectMode: false });
    try {
      // Sent in chunks: a file that grows meanwhile would not fit the size that it had.
      await files.write(job.dest, { source, mode: formatMode(job.mode) });
      progress.addFile();
      return;
    } catch (error) {
      progress.addBytes(-sent);
      const isPassing = error instanceof CliError && isPassingCode(error);
      if (!isPassing || attempt >= copyRetriesMax) throw localError(error, job.source);
      await delay(copyRetryDelayMs * 2 ** attempt);
    } finally {
      source.destroy();
    }
  }
}

/** A local directory with all that is below. Sockets, FIFOs and devices are named and left out. */
export async function uploadTree(
  files: RemoteFiles,
  root: { source: string; dest: string },
  progress: Progress,
): Promise<void> {
  const plan: Plan = { files: [], emptyDirectories: [], modes: [], links: [] };
  await planTree({ ...root, mode: (await stat(root.source)).mode & 0o777 }, plan, progress);
  await forEachOf(
    plan.files,
    copyConcurrency,
    async (job) => await uploadFile(files, job, progress),
  );
  for (const { dest } of plan.emptyDirectories) await files.makeDirectory(dest);
  await files.makeLinks(plan.links);
  for (const _ of plan.links) progress.addFile();
  // From the deepest, since the modes may shut a directory.
  for (const { dest, mode } of plan.modes.toReversed())
    await files.changeMode(dest, formatMode(mode));
}

async function planTree(directory: Job, plan: Plan, progress: Progress): Promise<void> {
  if (directory.mode !== directoryModeDefault) plan.modes.push(directory);
  const names = await readdir(directory.source).catch((cause: unknown) => {
    throw localError(cause, directory.source);
  });
  if (names.length === 0) plan.emptyDirectories.push(directory);
  if (plan.files.length + names.length > copyEntriesMax) {
    throw new CliError(`${directory.source} holds more than ${copyEntriesMax} files`, {
      code: "too_large",
    });
  }
  let isMade = false;
  for (const name of names.toSorted()) {
    const source = join(directory.source, name);
    const stats: Stats = await lstat(source);
    const job = { source, dest: posix.join(directory.dest, name), mode: stats.mode & 0o777 };
    isMade ||= stats.isFile() || stats.isDirectory();
    if (stats.isFile()) plan.files.push(job);
    else if (stats.isDirectory()) await planTree(job, plan, progress);
    else if (stats.isSymbolicLink()) {
      plan.links.push({ path: job.dest, target: await readlink(source) });
    } else progress.addProblem(`${printable(source)} is neither file, directory nor link`);
  }
  // One that holds only links is made before them.
  if (!isMade && names.length > 0) plan.emptyDirectories.push(directory);
}

function isPassingCode(error: CliError): boolean {
  return error.code === "connection_lost" || error.code === "unreachable" || error.status === 503;
}

function formatMode(mode: number): string {
  return mode.toString(8).padStart(4, "0");
}

/** A file here that cannot be read ends the request with an error of its own. */
export function localError(error: unknown, path: string): unknown {
  const cause = error instanceof CliError ? error.cause : error;
  if (!(cause instanceof Error) || !("syscall" in cause) || !("path" in cause)) return error;
  return new CliError(`read ${path}: ${cause.message}`, { code: "local_error", cause });
}
