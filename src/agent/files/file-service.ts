/** The operations on a sprite's files, each done by its file helper. */
import { closeSync } from "node:fs";
import type { Socket } from "node:net";

import type { Log } from "../../base/log.ts";
import { withDeadline } from "../../base/wait.ts";
import { SpriteError } from "../../contract/errors.ts";
import { FileError } from "../../contract/file-error.ts";
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
import type { Sandbox } from "../../sandbox/sandbox.ts";
import { BrokenOff, readLine, writeLastPiece, writeLine, writePiece } from "./channel.ts";
import { FileHelper } from "./file-helper.ts";
import type {
  ChangedModes,
  ChangedOwners,
  CopiedFiles,
  Entry,
  FileContent,
  FileOperations,
  Listing,
  RemovedFiles,
  RenamedFile,
  WatchEvents,
  WrittenFile,
} from "./file-operations.ts";
import type { FileCall, FileReply, WatchMessage } from "./helper-protocol.ts";
import { helperIdleMsMax, operationsMax, silenceMsMax } from "./limits.ts";

/** A view of a sprite's files: a container's, or that of a disk whose sprite sleeps. */
export type FileView = Pick<Sandbox, "openRoot">;

export interface FileServiceOptions {
  /** Waits until there is one. @throws SpriteError */
  enter: () => Promise<FileView>;
  socketPath: string;
  hostIdBase: number;
  log: Log;
}

interface Running {
  helper: FileHelper;
  view: FileView;
}

export class FileService implements FileOperations {
  readonly #options: FileServiceOptions;
  /** For the container there is; null when nobody has asked for a while. */
  #running: Running | null = null;
  #ending: Promise<unknown> = Promise.resolve();
  #idle: NodeJS.Timeout | null = null;
  /** Containers that end, or have. */
  readonly #ended = new WeakSet<FileView>();
  readonly #open = new Set<Socket>();
  #openCount = 0;

  constructor(options: FileServiceOptions) {
    this.#options = options;
  }

  async read(request: ReadRequest, signal: AbortSignal): Promise<FileContent> {
    const { socket, reply } = await this.#ask({ type: "read", ...request }, signal);
    if (reply.type !== "content") throw unexpected(socket);
    const { type: _, ...content } = reply;
    return { ...content, body: socket };
  }

  async write(
    request: WriteRequest,
    body: AsyncIterable<Buffer>,
    signal: AbortSignal,
  ): Promise<WrittenFile> {
    const call = { type: "write", ...request } as const;
    return (await this.#result(call, signal, (socket) => sendBody(socket, body))) as WrittenFile;
  }

  async list(request: ListRequest, signal: AbortSignal): Promise<Listing> {
    const { socket, reply } = await this.#ask({ type: "list", ...request }, signal);
    return { path: request.path, batches: entriesOf(socket, reply) };
  }

  async remove(request: RemoveRequest, signal: AbortSignal): Promise<RemovedFiles> {
    return (await this.#result({ type: "remove", ...request }, signal)) as RemovedFiles;
  }

  async rename(request: RenameRequest, signal: AbortSignal): Promise<RenamedFile> {
    return (await this.#result({ type: "rename", ...request }, signal)) as RenamedFile;
  }

  async copy(request: CopyRequest, signal: AbortSignal): Promise<CopiedFiles> {
    return (await this.#result({ type: "copy", ...request }, signal)) as CopiedFiles;
  }

  async changeMode(request: ChangeModeRequest, signal: AbortSignal): Promise<ChangedModes> {
    return (await this.#result({ type: "change_mode", ...request }, signal)) as ChangedModes;
  }

  async changeOwner(request: ChangeOwnerRequest, signal: AbortSignal): Promise<ChangedOwners> {
    return (await this.#result({ type: "change_owner", ...request }, signal)) as ChangedOwners;
  }

  async watch(request: WatchRequest, signal: AbortSignal): Promise<WatchEvents> {
    const { socket, reply } = await this.#ask({ type: "watch", ...request }, signal);
    if (reply.type !== "watching") throw unexpected(socket);
    return changesOf(socket);
  }

  /** Breaks off what is under way, and lets nobody begin: the container is about to end, or has. */
  async end(view: FileView): Promise<void> {
    this.#ended.add(view);
    await this.#endHelper();
  }

  async #endHelper(): Promise<void> {
    const running = this.#running;
    this.#running = null;
    if (this.#idle !== null) clearTimeout(this.#idle);
    this.#idle = null;
    for (const socket of this.#open) socket.destroy();
    if (running === null) {
      await this.#ending;
      return;
    }
    const ending = this.#ending.then(async () => {
      const isGone = await running.helper.end();
      if (!isGone) this.#options.log.error("the file helper hangs in the kernel");
    });
    this.#ending = ending;
    await ending;
  }

  async #result(
    call: FileCall,
    signal: AbortSignal,
    send: (socket: Socket) => Promise<void> = async () => undefined,
  ): Promise<unknown> {
    const { socket, reply } = await this.#ask(call, signal, send);
    socket.destroy();
    if (reply.type !== "result") throw unexpected(socket);
    return reply.value;
  }

  /** The first line of the answer. @throws FileError, SpriteError unavailable, busy, deadline_exceeded */
  async #ask(
    call: FileCall,
    signal: AbortSignal,
    send: (socket: Socket) => Promise<void> = async () => undefined,
  ): Promise<{ socket: Socket; reply: FileReply }> {
    const socket = await this.#connect(signal);
    const onAbort = (): void => void socket.destroy();
    signal.addEventListener("abort", onAbort, { once: true });
    socket.once("close", () => signal.removeEventListener("abort", onAbort));
    try {
      signal.throwIfAborted();
      await writeLine(socket, call);
      const answer = nextReply(socket);
      // An answer that comes before all is sent is an error, and what is left need not be sent.
      await Promise.race([answer, send(socket)]);
      return { socket, reply: await answer };
    } catch (error) {
      socket.destroy();
      if (error instanceof BrokenOff) throw containerEnded(error);
      throw error;
    }
  }

  async #connect(signal: AbortSignal): Promise<Socket> {
    if (this.#openCount >= operationsMax) {
      const message = `more than ${operationsMax} file operations at a time`;
      throw new SpriteError("busy", message, { details: { limit: operationsMax } });
    }
    this.#openCount += 1;
    try {
      const view = await this.#options.enter();
      signal.throwIfAborted();
      const { helper } = await this.#helperFor(view);
      const socket = await helper.connect();
      this.#open.add(socket);
      socket.once("close", () => {
        this.#open.delete(socket);
        this.#release();
      });
      return socket;
    } catch (error) {
      this.#release();
      if (error instanceof SpriteError || signal.aborted) throw error;
      throw containerEnded(error);
    }
  }

  #release(): void {
    this.#openCount -= 1;
    if (this.#openCount > 0 || this.#running === null) return;
    if (this.#idle !== null) clearTimeout(this.#idle);
    this.#idle = setTimeout(() => {
      if (this.#openCount === 0) void this.#endHelper();
    }, helperIdleMsMax);
    this.#idle.unref();
  }

  async #helperFor(view: FileView): Promise<Running> {
    // Two of them would have one socket.
    await this.#ending;
    // Who was let in just before the container ended must not hold its files now.
    if (this.#ended.has(view)) throw containerEnded();
    if (this.#running !== null && this.#running.view !== view) {
      await this.#endHelper();
      return await this.#helperFor(view);
    }
    if (this.#running !== null) return this.#running;
    const { socketPath, hostIdBase, log } = this.#options;
    const root = view.openRoot();
    try {
      const helper = new FileHelper({ socketPath, hostIdBase }, root, log);
      const running = { helper, view };
      this.#running = running;
      void helper.exited.then(() => {
        if (this.#running === running) this.#running = null;
      });
      return running;
    } finally {
      closeSync(root);
    }
  }
}

function containerEnded(cause?: unknown): SpriteError {
  const message = "the sprite's container ended before the operation did; try again";
  return new SpriteError("unavailable", message, { cause });
}

async function sendBody(socket: Socket, body: AsyncIterable<Buffer>): Promise<void> {
  for await (const bytes of body) {
    if (socket.destroyed) return;
    await writePiece(socket, bytes);
  }
  writeLastPiece(socket);
}

async function* entriesOf(socket: Socket, first: FileReply): AsyncGenerator<readonly Entry[]> {
  try {
    for (let reply = first; reply.type !== "result"; reply = await nextReply(socket)) {
      if (reply.type !== "entries") throw unexpected(socket);
      yield reply.entries;
    }
  } finally {
    socket.destroy();
  }
}

/** Ends when the helper does. */
async function* changesOf(socket: Socket): AsyncGenerator<WatchMessage> {
  try {
    for (;;) {
      const reply = await nextReply(socket);
      if (reply.type !== "events") throw unexpected(socket);
      yield* reply.events;
    }
  } catch (error) {
    if (!(error instanceof BrokenOff)) throw error;
  } finally {
    socket.destroy();
  }
}

/** @throws FileError, BrokenOff, SpriteError deadline_exceeded */
async function nextReply(socket: Socket): Promise<FileReply> {
  for (;;) {
    const line = await withDeadline(readLine(socket), {
      timeoutMs: silenceMsMax,
      onTimeout: () => new SpriteError("deadline_exceeded", "the sprite's disk does not answer"),
    });
    if (line === null) throw new BrokenOff();
    // A sign of life.
    if (line === "") continue;
    const reply = JSON.parse(line) as FileReply;
    if (reply.type === "error") throw new FileError(reply.code, reply);
    if (reply.type === "fault") throw new Error(`file helper: ${reply.text}`);
    return reply;
  }
}

function unexpected(socket: Socket): Error {
  socket.destroy();
  return new Error("the file helper answered something else than it was asked");
}
