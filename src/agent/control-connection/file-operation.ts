/**
 * Go's operations on files over a control connection (contract.md section 7.6): without the prefix in
 * either direction, an answer in JSON, and `op.complete` behind it.
 */
import { SpriteError } from "../../contract/errors.ts";
import { execCloseCode } from "../../contract/exec-frames.ts";
import { FileError, fileErrorBody, type FileErrorBody } from "../../contract/file-error.ts";
import {
  fileArgumentNames,
  parseChangeModeRequest,
  parseChangeOwnerRequest,
  parseCopyRequest,
  parseListRequest,
  parseReadRequest,
  parseRemoveRequest,
  parseRenameRequest,
  parseWriteRequest,
  type FileArguments,
} from "../../contract/file-requests.ts";
import { Query } from "../api/query.ts";
import type { Entry, FileOperations } from "../files/file-operations.ts";
import { listedBytesMax } from "./limits.ts";
import type { Operation, OperationLine } from "./operation.ts";

export const fileVerbs: ReadonlySet<string> = new Set([
  ...[
    "fs.read",
    "fs.write",
    "fs.list",
    "fs.delete",
    "fs.rename",
    "fs.copy",
    "fs.chmod",
    "fs.chown",
  ],
]);

const completion = '{"type":"op.complete"}';

export class FileOperation implements Operation {
  readonly #line: OperationLine;
  readonly #files: FileOperations;
  readonly #content = Promise.withResolvers<Buffer>();
  #onDrained: (() => void) | null = null;

  constructor(files: FileOperations, line: OperationLine) {
    this.#files = files;
    this.#line = line;
    this.#content.promise.catch(() => undefined);
    line.signal.addEventListener("abort", () => {
      this.#content.reject(new Error("the client has left"));
      this.drained();
    });
  }

  /** Settles when the client was told. `args` is what a URL would have behind its question mark. */
  async run(verb: string, args: string): Promise<void> {
    let path = "";
    try {
      const asked = argumentsOf(args);
      path = asked["path"] ?? asked["source"] ?? "";
      await this.#perform(verb, asked);
    } catch (error) {
      // The client reads nothing behind an error, and takes what comes for the next answer.
      if (!this.#line.signal.aborted) this.#line.send(JSON.stringify(bodyOf(error, path)));
    }
    this.#line.send(completion);
    this.#line.done();
  }

  /** A write's content: one frame. */
  push(frame: Buffer): void {
    this.#content.resolve(frame);
  }

  control(): void {
    // `release` comes behind the end, which the client does not wait for after an error.
  }

  drained(): void {
    const settle = this.#onDrained;
    this.#onDrained = null;
    settle?.();
  }

  release(): void {
    // The line's signal is aborted, which ends the operation.
  }

  async #perform(verb: string, asked: FileArguments): Promise<void> {
    const files = this.#files;
    const { signal } = this.#line;
    switch (verb) {
      case "fs.read":
        await this.#read(asked);
        return;
      case "fs.write": {
        const request = parseWriteRequest(asked);
        const content = await this.#content.promise;
        this.#answer(await files.write(request, once(content), signal));
        return;
      }
      case "fs.list":
        this.#line.send(await this.#list(asked));
        return;
      case "fs.delete":
        this.#answer(await files.remove(parseRemoveRequest(asked), signal));
        return;
      case "fs.rename":
        this.#answer(await files.rename(parseRenameRequest(asked), signal));
        return;
      case "fs.copy":
        this.#answer(await files.copy(parseCopyRequest(asked), signal));
        return;
      case "fs.chmod":
        this.#answer(await files.changeMode(parseChangeModeRequest(asked), signal));
        return;
      default:
        this.#answer(await files.changeOwner(parseChangeOwnerRequest(asked), signal));
    }
  }

  #answer(result: object): void {
    this.#line.send(JSON.stringify(result));
  }

  /** One message for the client, sent in pieces, so that the file is never here as a whole. */
  async #read(asked: FileArguments): Promise<void> {
    const { path, length, body } = await this.#files.read(
      parseReadRequest(asked),
      this.#line.signal,
    );
    this.#answer({ path, size: length });
    let missing = length;
    try {
      for await (const bytes of body as AsyncIterable<Buffer>) {
        missing -= bytes.length;
        this.#line.send(bytes, { isLast: missing === 0 });
        if (this.#line.isFull) await this.#untilDrained();
      }
    } catch (error) {
      if (this.#line.signal.aborted) throw error;
    }
    if (length === 0) this.#line.send(Buffer.alloc(0));
    // Half a message is on its way, and nothing but the connection's end can say so.
    else if (missing > 0)
      this.#line.close(execCloseCode.internalFailure, "the file cannot be read");
  }

  #untilDrained(): Promise<void> {
    if (this.#line.signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onDrained = resolve;
    });
  }

  async #list(asked: FileArguments): Promise<string> {
    const { path, batches } = await this.#files.list(parseListRequest(asked), this.#line.signal);
    const entries: Entry[] = [];
    let bytes = 0;
    for await (const batch of batches) {
      for (const entry of batch) bytes += entry.path.length * 2 + entryCostBytes;
      if (bytes > listedBytesMax) throw new FileError("EOVERFLOW", { verb: "list", path });
      entries.push(...batch);
    }
    return JSON.stringify({ path, entries, count: entries.length });
  }
}

/** What an entry's other fields take. */
const entryCostBytes = 128;

function argumentsOf(text: string): Readonly<Record<string, string | null>> {
  const query = Query.parse(text);
  return Object.fromEntries(fileArgumentNames.map((name) => [name, query.text(name)]));
}

// oxlint-disable-next-line require-await
async function* once(content: Buffer): AsyncIterable<Buffer> {
  yield content;
}

function bodyOf(error: unknown, path: string): FileErrorBody {
  if (error instanceof FileError) return fileErrorBody(error);
  if (error instanceof SpriteError) return { error: error.message, code: "EINVAL", path };
  return { error: "internal error", code: "EIO", path };
}
