import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { chmod, lstat, mkdir, open, readdir, rename, rm, stat, symlink } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { basename, dirname, join } from "node:path";
import type { Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as delay } from "node:timers/promises";
import { CliError } from "../errors.ts";
import {
  copyConcurrency,
  copyDepthMax,
  copyEntriesMax,
  copyRetriesMax,
  copyRetryDelayMs,
} from "../limits.ts";
import type { OutputPipe } from "../output-pipe.ts";
import { printable } from "../text.ts";
import { forEachOf, type Progress } from "./progress.ts";
import type { RemoteEntry, RemoteFiles } from "./remote-files.ts";

interface Job {
  source: string;
  dest: string;
  mode: number;
}

interface LinkJob extends Job {
  target?: string;
}

interface Plan {
  directories: Job[];
  files: Job[];
  links: LinkJob[];
}

/**
 * A file's content under its name here, which appears when it is whole. What was fetched before the
 * connection was lost is kept beside it, under a name that says which content it is the beginning of.
 */
export async function downloadFile(
  files: RemoteFiles,
  job: Job,
  progress: Progress,
): Promise<void> {
  await fetchFile(files, job, progress);
  await removeParts(dirname(job.dest), new Set([basename(job.dest)]));
}

/** What a file held when the sprite was asked last; the tag of another content is another. */
interface Content {
  tag: string;
  sizeBytes: number;
}

async function fetchFile(files: RemoteFiles, job: Job, progress: Progress): Promise<void> {
  await mkdir(dirname(job.dest), { recursive: true });
  const seen: { content: Content | null } = { content: null };
  let draft: string | null = null;
  for (let attempt = 0; draft === null;) {
    try {
      draft = await fetchDraft(files, job, { progress, seen });
    } catch (error) {
      if (!isPassing(error) || attempt >= copyRetriesMax) throw error;
      await delay(copyRetryDelayMs * 2 ** attempt++);
    }
  }
  await chmod(draft, job.mode);
  await rename(draft, job.dest);
  progress.addFile();
}

/**
 * Fetches what is missing of the file's present content, and gives the path of all of it. Null when a
 * beginning of it was found here that an earlier command fetched: it is `seen` now, and to be asked for again.
 */
async function fetchDraft(
  files: RemoteFiles,
  job: Job,
  { progress, seen }: { progress: Progress; seen: { content: Content | null } },
): Promise<string | null> {
  const begun = await findBeginning(job, seen.content);
  if (begun !== null && begun.offset === begun.content.sizeBytes) return begun.draft;
  const from = begun === null ? undefined : { offset: begun.offset, tag: begun.content.tag };
  const response = await files.read(job.source, from);
  if (begun !== null && response.statusCode === 206) {
    await receive(response, begun.draft, { start: begun.offset, progress });
    return begun.draft;
  }
  // All of it, also when it changed since a part was fetched: another content, under another name.
  const { etag: tag } = response.headers;
  const sizeBytes = Number(response.headers["content-length"] ?? Number.NaN);
  seen.content = tag === undefined ? null : { tag, sizeBytes };
  const draft = partPath(job.dest, tag ?? "");
  await removeUnlessFile(draft);
  if (begun === null && (await findBeginning(job, seen.content)) !== null) {
    response.destroy();
    return null;
  }
  await receive(response, draft, { start: 0, progress });
  return draft;
}

/** Null when nothing of the content is here. */
async function findBeginning(
  job: Job,
  content: Content | null,
): Promise<{ content: Content; draft: string; offset: number } | null> {
  if (content === null) return null;
  const draft = partPath(job.dest, content.tag);
  const offset = await sizeOf(draft);
  return offset > 0 && offset <= content.sizeBytes ? { content, draft, offset } : null;
}

/**
 * A directory below a copy's own. A link there was made by the sprite, as a rule, in a copy before: what the
 * sprite has put in its place since must not be written to where that leads.
 */
async function makeOwnDirectory(path: string): Promise<void> {
  const found = await lstat(path).catch(() => null);
  if (found?.isSymbolicLink() === true) await rm(path, { force: true });
  await mkdir(path, { recursive: true });
}

/** The name of a beginning can be foreseen, and a copy before may have made a link of that name. */
async function removeUnlessFile(path: string): Promise<void> {
  const found = await lstat(path).catch(() => null);
  if (found !== null && !found.isFile()) await rm(path, { force: true });
}

/** A file's content on stdout. A lost connection cannot be mended once bytes are out: it is an error. */
export async function downloadToOutput(
  files: RemoteFiles,
  source: string,
  out: OutputPipe,
): Promise<void> {
  const response = await files.read(source);
  const expected = Number(response.headers["content-length"] ?? Number.NaN);
  let received = 0;
  for await (const piece of response) {
    received += (piece as Buffer).length;
    out.write(piece as Buffer);
    if (out.isFull) await out.flush();
    if (out.failure !== null) return;
  }
  if (received < expected) throw lost();
}

/** A directory with all that is below. Sockets, FIFOs and devices are named and left out. */
export async function downloadTree(
  files: RemoteFiles,
  root: { source: string; entries: readonly RemoteEntry[]; dest: string },
  progress: Progress,
): Promise<void> {
  const plan: Plan = { directories: [], files: [], links: [] };
  await planTree(files, root, { plan, progress, depth: 0 });
  await mkdir(root.dest, { recursive: true });
  for (const { dest } of plan.directories) await makeOwnDirectory(dest);
  await forEachOf(plan.files, copyConcurrency, async (job) => {
    await fetchFile(files, job, progress).catch((error: unknown) => {
      // A file that went away since it was listed is not there to be copied.
      if (!(error instanceof CliError) || error.code !== "ENOENT") throw error;
      progress.addProblem(`${printable(job.source)} is gone`);
    });
  });
  for (const [directory, names] of namesByDirectory(plan.files))
    await removeParts(directory, names);
  const targets = await files.readLinks(plan.links);
  // Last, so that nothing is written through a link that the sprite made up.
  for (const [index, { dest }] of plan.links.entries()) {
    await rm(dest, { force: true });
    await symlink(targets[index] ?? "", dest);
    progress.addFile();
  }
  // From the deepest, since a directory that may not be written to can hold others.
  for (const { dest, mode } of plan.directories.toReversed()) await chmod(dest, mode);
}

async function planTree(
  files: RemoteFiles,
  place: { source: string; entries: readonly RemoteEntry[]; dest: string },
  state: { plan: Plan; progress: Progress; depth: number },
): Promise<void> {
  const { plan, progress, depth } = state;
  const count = plan.files.length + plan.directories.length + plan.links.length;
  if (depth > copyDepthMax || count + place.entries.length > copyEntriesMax) {
    throw new CliError(`${printable(place.source)} holds too much to be copied`, {
      code: "too_large",
      hint: `At most ${copyEntriesMax} files, and ${copyDepthMax} directories below each other.`,
    });
  }
  for (const entry of place.entries) {
    const job = {
      source: entry.path,
      dest: join(place.dest, entry.name),
      // Without set-user-id and the like, which mean something else here.
      mode: Number.parseInt(entry.mode, 8) & 0o777,
    };
    if (entry.type === "file") plan.files.push(job);
    else if (entry.type === "symlink") plan.links.push(linkJob(job, entry));
    else if (entry.type !== "directory") {
      progress.addProblem(`${printable(entry.path)} is neither file, directory nor link`);
    } else {
      plan.directories.push(job);
      const found = await files.look(entry.path);
      const entries = found.kind === "directory" ? found.entries : [];
      await planTree(files, { ...job, entries }, { ...state, depth: depth + 1 });
    }
  }
}

function linkJob(job: Job, { target }: RemoteEntry): LinkJob {
  return target === undefined ? job : { ...job, target };
}

async function receive(
  response: IncomingMessage,
  draft: string,
  options: { start: number; progress: Progress },
): Promise<void> {
  const { start, progress } = options;
  const expected = Number(response.headers["content-length"] ?? Number.NaN);
  let received = 0;
  const counted = async function* (pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const piece of pieces) {
      received += piece.length;
      progress.addBytes(piece.length);
      yield piece;
    }
  };
  // Not "a": the start may be before the end of what is there.
  const { O_CREAT, O_NOFOLLOW, O_TRUNC, O_WRONLY } = constants;
  const flags = O_WRONLY | O_NOFOLLOW | (start > 0 ? 0 : O_CREAT | O_TRUNC);
  const handle = await open(draft, flags, 0o600);
  try {
    const sink: Writable = handle.createWriteStream({ start });
    await pipeline(response, counted, sink);
  } catch (cause) {
    await handle.close().catch(() => {});
    if (cause instanceof Error && "code" in cause && cause.code === "ENOSPC") {
      throw new CliError(`write ${draft}: the disk here is full`, { code: "local_error", cause });
    }
    throw lost(cause);
  }
  if (received < expected) throw lost();
}

function isPassing(error: unknown): boolean {
  if (!(error instanceof CliError)) return false;
  return error.code === "connection_lost" || error.code === "unreachable" || error.status === 503;
}

function lost(cause?: unknown): CliError {
  return new CliError("the connection was lost in the middle of a file", {
    code: "connection_lost",
    hint: "The same command goes on where it stopped.",
    cause,
  });
}

function partPath(dest: string, tag: string): string {
  const mark = createHash("sha256").update(tag).digest("hex").slice(0, 12);
  return join(dirname(dest), `.${basename(dest)}.${mark}.sprite-part`);
}

function namesByDirectory(jobs: readonly Job[]): Map<string, Set<string>> {
  const names = new Map<string, Set<string>>();
  for (const { dest } of jobs) {
    const directory = dirname(dest);
    const known = names.get(directory) ?? new Set<string>();
    names.set(directory, known.add(basename(dest)));
  }
  return names;
}

/** Beginnings of contents that files have had which are whole now. */
async function removeParts(directory: string, names: ReadonlySet<string>): Promise<void> {
  for (const found of await readdir(directory)) {
    const name = /^\.(.+)\.[0-9a-f]{12}\.sprite-part$/s.exec(found)?.[1];
    if (name !== undefined && names.has(name)) await rm(join(directory, found), { force: true });
  }
}

async function sizeOf(path: string): Promise<number> {
  const found = await stat(path).catch(() => null);
  return found?.size ?? 0;
}
