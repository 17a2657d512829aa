/**
 * The file helper: a child process of the agent for everything that touches the sprite's files on
 * behalf of the API, since the agent serves the disk below them and must never wait for it. It runs
 * as the sprite's own root, with the four capabilities that a root needs of files and no other, and
 * knows the sprite only by the descriptor of its root. It ends when its standard input does.
 */
import { createServer, type Socket } from "node:net";

import { FileError } from "../../../contract/file-error.ts";
import { BrokenOff, readLine, readPieces, writeLine, writeOut } from "../channel.ts";
import {
  readyText,
  rootDescriptor,
  type FileCall,
  type FileReply,
  type HelperStart,
} from "../helper-protocol.ts";
import { signOfLifeIntervalMs } from "../limits.ts";
import { changeMode, changeOwner } from "./attributes.ts";
import { copy } from "./copy.ts";
import { list } from "./list.ts";
import { Pace } from "./pace.ts";
import { read } from "./read.ts";
import { remove } from "./remove.ts";
import { rename } from "./rename.ts";
import { fileError, Root } from "./root.ts";
import { Watch } from "./watch.ts";
import { write } from "./write.ts";

process.umask(0);
process.stdin.setEncoding("utf8");
process.stdin.once("data", (line) => start(JSON.parse(String(line)) as HelperStart));
process.stdin.on("close", () => process.exit(0));

function start({ socketPath, hostIdBase }: HelperStart): void {
  const root = new Root(rootDescriptor, hostIdBase);
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    void serve(root, socket);
  });
  server.listen(socketPath, () => process.stdout.write(readyText));
}

async function serve(root: Root, socket: Socket): Promise<void> {
  const abort = new AbortController();
  socket.on("error", () => socket.destroy());
  socket.on("close", () => abort.abort(new BrokenOff()));
  // Whoever waits learns that this thread is not waiting itself.
  const timer = setInterval(() => socket.write("\n"), signOfLifeIntervalMs);
  socket.on("close", () => clearInterval(timer));
  socket.on("content", () => clearInterval(timer));
  try {
    const line = await readLine(socket);
    // Our own agent is at the other end, and sends nothing else.
    if (line !== null) await answer(root, JSON.parse(line) as FileCall, socket, abort.signal);
  } catch (error) {
    await reply(socket, describe(error));
  }
  socket.end();
}

async function answer(
  root: Root,
  call: FileCall,
  socket: Socket,
  signal: AbortSignal,
): Promise<void> {
  try {
    await perform(root, call, socket, signal);
  } catch (error) {
    throw fileError(error, call.type, pathOf(call));
  }
}

function pathOf(call: FileCall): string {
  if ("source" in call) return call.source;
  return "path" in call ? call.path : call.paths.join(", ");
}

async function perform(
  root: Root,
  call: FileCall,
  socket: Socket,
  signal: AbortSignal,
): Promise<void> {
  const pace = new Pace(signal);
  switch (call.type) {
    case "read":
      return await sendContent(root, call, socket);
    case "list":
      return await sendEntries(root, call, socket, pace);
    case "write":
      return await sendResult(socket, await write(root, call, readPieces(socket)));
    case "remove":
      return await sendResult(socket, await remove(root, call, pace));
    case "rename":
      return await sendResult(socket, rename(root, call));
    case "copy":
      return await sendResult(socket, await copy(root, call, pace));
    case "change_mode":
      return await sendResult(socket, await changeMode(root, call, pace));
    case "watch":
      return await sendChanges(root, call, socket, pace);
    case "change_owner":
      return await sendResult(socket, await changeOwner(root, call, pace));
  }
}

/** A file that becomes shorter meanwhile ends the connection before its last byte. */
async function sendContent(
  root: Root,
  call: Extract<FileCall, { type: "read" }>,
  socket: Socket,
): Promise<void> {
  const { content, chunks } = read(root, call);
  socket.emit("content");
  await reply(socket, { type: "content", ...content });
  try {
    for await (const bytes of chunks) {
      await writeOut(socket, bytes);
      if (socket.destroyed) return;
    }
  } catch {
    socket.destroy();
  }
}

async function sendEntries(
  root: Root,
  call: Extract<FileCall, { type: "list" }>,
  socket: Socket,
  pace: Pace,
): Promise<void> {
  for await (const entries of list(root, call, pace)) {
    await reply(socket, { type: "entries", entries });
    if (socket.destroyed) return;
  }
  await sendResult(socket, null);
}

/** Goes on until the agent hangs up. */
async function sendChanges(
  root: Root,
  call: Extract<FileCall, { type: "watch" }>,
  socket: Socket,
  pace: Pace,
): Promise<void> {
  const watch = await Watch.open(root, call, pace);
  let isClosed = false;
  const close = (): void => {
    if (!isClosed) watch.close();
    isClosed = true;
  };
  socket.once("close", close);
  try {
    if (socket.destroyed) return;
    await reply(socket, { type: "watching" });
    for await (const events of watch.batches()) {
      await reply(socket, { type: "events", events });
      if (socket.destroyed) return;
    }
  } finally {
    close();
  }
}

async function sendResult(socket: Socket, value: unknown): Promise<void> {
  await reply(socket, { type: "result", value });
}

async function reply(socket: Socket, message: FileReply): Promise<void> {
  await writeLine(socket, message);
}

function describe(error: unknown): FileReply {
  if (error instanceof FileError) {
    const { code, verb, path, reason, sizeBytes } = error;
    return { type: "error", code, verb, path, reason, sizeBytes };
  }
  return { type: "fault", text: error instanceof Error ? (error.stack ?? error.message) : "" };
}
