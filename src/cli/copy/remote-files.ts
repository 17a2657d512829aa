import type { IncomingMessage } from "node:http";
import { posix } from "node:path";
import type { Readable } from "node:stream";
import type { ApiClient, Query } from "../api-client.ts";
import { CliError } from "../errors.ts";
import { linksPerCommand, listingBytesMax } from "../limits.ts";
import { runRemoteCommand } from "../remote-command.ts";

const workingDirectory = "/home/sprite";
const busybox = "/.sprite/bin/busybox";

export interface RemoteEntry {
  name: string;
  path: string;
  type: "file" | "directory" | "symlink" | "other";
  size: number;
  /** Octal text. */
  mode: string;
  isDir: boolean;
  /** Where a symbolic link leads; missing when the server is older than that. */
  target?: string;
}

export type RemoteKind =
  | { kind: "missing" }
  | { kind: "file"; entry: RemoteEntry }
  | { kind: "directory"; path: string; entries: RemoteEntry[] };

/** A sprite's files through the API (contract.md section 7), as root of the sprite. */
export class RemoteFiles {
  readonly #client: ApiClient;
  readonly #path: string;

  /** @param path the sprite's, at the API */
  constructor(client: ApiClient, path: string) {
    this.#client = client;
    this.#path = path;
  }

  /** What is at the path; of a directory, what is in it. */
  async look(path: string): Promise<RemoteKind> {
    try {
      const answer = await this.#list(path);
      const [first] = answer.entries;
      // A file is listed as itself, a directory by what is in it.
      const isItself = answer.entries.length === 1 && first?.path === answer.path;
      if (isItself && first !== undefined) return { kind: "file", entry: first };
      return { kind: "directory", path: answer.path, entries: answer.entries };
    } catch (error) {
      if (error instanceof CliError && error.status === 404 && error.code === "ENOENT") {
        return { kind: "missing" };
      }
      throw error;
    }
  }

  async #list(path: string): Promise<{ path: string; entries: RemoteEntry[] }> {
    const answer = await this.#client.json<{ path: string; entries: RemoteEntry[] }>(
      "GET",
      `${this.#path}/fs/list`,
      { query: query(path), answerBytesMax: listingBytesMax },
    );
    for (const { name } of answer.entries) assertPlainName(name);
    return answer;
  }

  /** Where a file is read from; with a range and the tag of what is known, only the rest of the same content. */
  async read(path: string, from?: { offset: number; tag: string }): Promise<IncomingMessage> {
    const headers =
      from === undefined ? {} : { Range: `bytes=${from.offset}-`, "If-Range": from.tag };
    return await this.#client.bytes("GET", `${this.#path}/fs/read`, {
      query: query(path),
      headers,
    });
  }

  /** Missing directories are made. @param mode octal; the server's default when absent */
  async write(
    path: string,
    content: { source: Readable; sizeBytes?: number; mode?: string },
  ): Promise<void> {
    const { source, sizeBytes, mode } = content;
    const parameters = mode === undefined ? query(path) : [...query(path), ["mode", mode] as const];
    await this.#client.json<unknown>("PUT", `${this.#path}/fs/write`, {
      query: parameters,
      source,
      ...(sizeBytes === undefined ? {} : { sourceSizeBytes: sizeBytes }),
      headers: { "Content-Type": "application/octet-stream" },
      timeoutMs: 300_000,
    });
  }

  /** There is no call for it: a file in it is written and taken away again, as SDKs do. */
  async makeDirectory(path: string): Promise<void> {
    const { Readable: Source } = await import("node:stream");
    const marker = posix.join(path, ".keep");
    await this.write(marker, { source: Source.from([]), sizeBytes: 0 });
    await this.#client.json<unknown>("DELETE", `${this.#path}/fs/delete`, { query: query(marker) });
  }

  async changeMode(path: string, mode: string): Promise<void> {
    const body = { path, workingDir: workingDirectory, mode };
    await this.#client.json<unknown>("POST", `${this.#path}/fs/chmod`, { body });
  }

  /** Where symbolic links lead, in their order. A sprite that sleeps need not wake up for those that were listed with it. */
  async readLinks(links: ReadonlyArray<{ source: string; target?: string }>): Promise<string[]> {
    const unknown = links.filter(({ target }) => target === undefined);
    const read = await this.#readLinksInside(unknown.map(({ source }) => source));
    const found = new Map(unknown.map(({ source }, index) => [source, read[index] ?? ""]));
    return links.map(({ source, target }) => target ?? found.get(source) ?? "");
  }

  async #readLinksInside(paths: readonly string[]): Promise<string[]> {
    const script = 'for link; do "$0" readlink -- "$link"; printf ".\\0"; done';
    const targets: string[] = [];
    for (let at = 0; at < paths.length; at += linksPerCommand) {
      const batch = paths.slice(at, at + linksPerCommand);
      const output = await this.#run([busybox, "sh", "-c", script, busybox, ...batch]);
      // Each is followed by a line feed, the full stop and the NUL, since it may end in line feeds itself.
      const parts = output.toString("utf8").split("\0").slice(0, -1);
      if (parts.length !== batch.length) throw new CliError("symbolic links could not be read");
      targets.push(...parts.map((part) => part.replace(/\n?\.$/, "")));
    }
    return targets;
  }

  /** Makes symbolic links, in place of what has their names. */
  async makeLinks(links: readonly { path: string; target: string }[]): Promise<void> {
    for (let at = 0; at < links.length; at += linksPerCommand) {
      const batch = links.slice(at, at + linksPerCommand);
      const words = batch.flatMap(({ path, target }) => [target, this.absolute(path)]);
      const script = 'while [ $# -gt 0 ]; do "$0" ln -sfn -- "$1" "$2" || exit 1; shift 2; done';
      await this.#run(["sudo", "-n", busybox, "sh", "-c", script, busybox, ...words]);
    }
  }

  absolute(path: string): string {
    return posix.resolve(workingDirectory, path);
  }

  async #run(argv: readonly string[]): Promise<Buffer> {
    return await runRemoteCommand(this.#client, this.#path, argv);
  }
}

function query(path: string): Query {
  return [
    ["path", path],
    ["workingDir", workingDirectory],
  ];
}

/** Names come from inside of a sprite and become names here: none may lead elsewhere. */
function assertPlainName(name: string): void {
  const isPlain = name !== "" && name !== "." && name !== ".." && !/[/\0]/.test(name);
  if (!isPlain) {
    const message = `the sprite has a file of a name that leads elsewhere: ${JSON.stringify(name)}`;
    throw new CliError(message, { code: "bad_response" });
  }
}
