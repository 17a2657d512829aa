import { stat } from "node:fs/promises";
import { basename, join, posix } from "node:path";
import type { Cli } from "../cli.ts";
import { downloadFile, downloadToOutput, downloadTree } from "../copy/download.ts";
import { parsePlace, type Place } from "../copy/place.ts";
import { Progress } from "../copy/progress.ts";
import { RemoteFiles } from "../copy/remote-files.ts";
import { localError, uploadFile, uploadTree } from "../copy/upload.ts";
import { CliError } from "../errors.ts";
import { formatBytes, printable } from "../text.ts";

type RemotePlace = Extract<Place, { kind: "remote" }>;

/** `sprite cp SOURCE... DEST`: one side is in a sprite. */
export async function cp(cli: Cli, args: readonly string[]): Promise<number> {
  const places = args.map(parsePlace);
  const dest = places.pop();
  if (dest === undefined || places.length === 0) throw usage("name what to copy, and where to");
  const remotes = [...places, dest].filter((place) => place.kind === "remote");
  const name = cli.spriteName(remotes.find(({ sprite }) => sprite !== "")?.sprite);
  if (remotes.length === 0) throw usage("one side has to be in a sprite: NAME:PATH or :PATH");
  if (remotes.some(({ sprite }) => sprite !== "" && sprite !== name)) {
    throw usage("a copy from sprite to sprite goes by way of this machine: copy it here first");
  }
  if (dest.kind === "remote" && remotes.length > 1) {
    throw usage("within a sprite, use its own: sprite exec -- cp SOURCE DEST");
  }
  cli.client.keepConnections();
  const verb = `Copying ${dest.kind === "remote" ? "to" : "from"} ${name}`;
  const progress = await cli.spin(verb, async (spinner) => {
    const state = new Progress(spinner, verb);
    await cli.forSprite(name, async (path) => {
      const files = new RemoteFiles(cli.client, path);
      if (dest.kind === "remote") await copyIn({ files, sources: places, dest, progress: state });
      else await copyOut({ cli, files, sources: remotes, dest, progress: state });
    });
    return state;
  });
  return report(cli, progress, dest.kind === "stdio");
}

/** Into the sprite. */
async function copyIn(copy: {
  files: RemoteFiles;
  sources: readonly Place[];
  dest: RemotePlace;
  progress: Progress;
}): Promise<void> {
  const { files, sources, dest, progress } = copy;
  const isInto = dest.path.endsWith("/") || (await files.look(dest.path)).kind === "directory";
  if (sources.length > 1 && !isInto) {
    throw usage(`several sources need a directory as their place: ${dest.path}/`);
  }
  for (const source of sources) {
    if (source.kind === "stdio") {
      if (isInto) throw usage("stdin has no name: name the file that it becomes");
      await files.write(dest.path, { source: process.stdin });
      progress.addFile();
    } else if (source.kind === "local") {
      const { path } = source;
      const found = await stat(path).catch((cause: unknown) => {
        throw localError(cause, path);
      });
      const target = isInto ? posix.join(dest.path, basename(path)) : dest.path;
      const job = { source: path, dest: target, mode: found.mode & 0o777 };
      if (found.isDirectory()) await uploadTree(files, job, progress);
      else if (found.isFile()) await uploadFile(files, job, progress);
      else throw usage(`${path} is neither a file nor a directory`);
    }
  }
}

/** Out of the sprite. */
async function copyOut(copy: {
  cli: Cli;
  files: RemoteFiles;
  sources: readonly RemotePlace[];
  dest: Exclude<Place, RemotePlace>;
  progress: Progress;
}): Promise<void> {
  const { cli, files, sources, dest, progress } = copy;
  if (dest.kind === "stdio") {
    for (const { path } of sources) await downloadToOutput(files, path, cli.surroundings.out);
    return;
  }
  const found = await stat(dest.path).catch(() => null);
  const isInto = found?.isDirectory() === true || dest.path.endsWith("/");
  if (sources.length > 1 && !isInto) {
    throw usage(`several sources need a directory as their place: ${dest.path}/`);
  }
  for (const { path } of sources) {
    const remote = await files.look(path);
    if (remote.kind === "missing") {
      throw new CliError(`${path} is not there in the sprite`, { code: "ENOENT", status: 404 });
    }
    const name = posix.basename(files.absolute(path)) || "root";
    const target = isInto ? join(dest.path, name) : dest.path;
    if (remote.kind === "directory") {
      const { path: source, entries } = remote;
      await downloadTree(files, { source, entries, dest: target }, progress);
    } else {
      const mode = Number.parseInt(remote.entry.mode, 8) & 0o777;
      await downloadFile(files, { source: path, dest: target, mode }, progress);
    }
  }
}

function report(cli: Cli, progress: Progress, isQuiet: boolean): number {
  const { files, sizeBytes } = progress.totals;
  const { problems } = progress;
  if (cli.isJson && !isQuiet) cli.printJson({ files, size_bytes: sizeBytes, problems });
  else if (!isQuiet) {
    cli.note(`Copied ${files === 1 ? "1 file" : `${files} files`}, ${formatBytes(sizeBytes)}.\n`);
  }
  for (const problem of problems) cli.note(`sprite: left out: ${printable(problem)}\n`);
  return problems.length === 0 ? 0 : 1;
}

function usage(message: string): CliError {
  return new CliError(message, {
    code: "usage",
    hint: "For example: sprite cp ./app box:/srv/, or sprite cp :notes.txt .",
  });
}
