/** Lines and pieces on a socket, both ways, with back-pressure. */
import type { Socket } from "node:net";

import { channelLineBytesMax, pieceBytesMax } from "./limits.ts";

const lengthBytes = 4;

/** The stream ended where something was still to come. */
export class BrokenOff extends Error {
  override readonly name = "BrokenOff";
  constructor() {
    super("the connection broke off");
  }
}

/**
 * Reads up to the next newline; what follows stays in the stream. Null at its end.
 * @throws BrokenOff in the middle of a line; a line over the limit
 */
export async function readLine(socket: Socket): Promise<string | null> {
  const parts: Buffer[] = [];
  let sizeBytes = 0;
  for (;;) {
    const chunk = await readChunk(socket);
    if (chunk === null) {
      if (sizeBytes === 0) return null;
      throw new BrokenOff();
    }
    const end = chunk.indexOf(0x0a);
    parts.push(end < 0 ? chunk : chunk.subarray(0, end));
    sizeBytes += chunk.length;
    if (end >= 0) {
      if (end + 1 < chunk.length) socket.unshift(chunk.subarray(end + 1));
      return Buffer.concat(parts).toString("utf8");
    }
    if (sizeBytes > channelLineBytesMax) throw new Error("a line is too long");
  }
}

/** Resolves once the stream takes more, also when it takes none any more. */
export async function writeLine(socket: Socket, value: unknown): Promise<void> {
  await writeBytes(socket, `${JSON.stringify(value)}\n`);
}

export async function writePiece(socket: Socket, bytes: Buffer): Promise<void> {
  for (let offset = 0; offset < bytes.length; offset += pieceBytesMax) {
    const part = bytes.subarray(offset, offset + pieceBytesMax);
    socket.cork();
    socket.write(lengthOf(part.length));
    const isTaken = socket.write(part);
    socket.uncork();
    if (!isTaken) await drained(socket);
  }
}

export function writeLastPiece(socket: Socket): void {
  socket.write(lengthOf(0));
}

/** The content of a write, piece by piece. @throws BrokenOff when it ends without its last piece */
export async function* readPieces(socket: Socket): AsyncGenerator<Buffer> {
  let rest: Buffer = Buffer.alloc(0);
  for (;;) {
    while (rest.length < lengthBytes) rest = Buffer.concat([rest, await more(socket)]);
    let missing = rest.readUInt32LE(0);
    rest = rest.subarray(lengthBytes);
    if (missing > pieceBytesMax) throw new Error("a piece is too long");
    if (missing === 0) {
      if (rest.length > 0) socket.unshift(rest);
      return;
    }
    while (missing > 0) {
      if (rest.length === 0) rest = await more(socket);
      const part = rest.subarray(0, missing);
      rest = rest.subarray(part.length);
      missing -= part.length;
      yield part;
    }
  }
}

/** Resolves once the stream takes more, also when it takes none any more. */
async function writeBytes(socket: Socket, bytes: Buffer | string): Promise<void> {
  if (!socket.write(bytes)) await drained(socket);
}

/** Resolves once the bytes may be overwritten, also when they went nowhere. */
export function writeOut(socket: Socket, bytes: Buffer): Promise<void> {
  return new Promise((resolve) => {
    socket.write(bytes, () => resolve());
  });
}

function lengthOf(count: number): Buffer {
  const bytes = Buffer.allocUnsafe(lengthBytes);
  bytes.writeUInt32LE(count, 0);
  return bytes;
}

async function more(socket: Socket): Promise<Buffer> {
  const chunk = await readChunk(socket);
  if (chunk === null) throw new BrokenOff();
  return chunk;
}

/** The next bytes, null at the end. @throws what broke the stream */
function readChunk(socket: Socket): Promise<Buffer | null> {
  const chunk = socket.read() as Buffer | null;
  if (chunk !== null) return Promise.resolve(chunk);
  if (socket.readableEnded || socket.destroyed) return Promise.resolve(null);
  return new Promise((resolve, reject) => {
    const settle = (done: () => void): void => {
      socket.off("readable", onReadable);
      socket.off("end", onEnd);
      socket.off("close", onEnd);
      socket.off("error", onError);
      done();
    };
    const onReadable = (): void => {
      const bytes = socket.read() as Buffer | null;
      if (bytes !== null) settle(() => resolve(bytes));
    };
    const onEnd = (): void => settle(() => resolve(null));
    const onError = (error: Error): void => settle(() => reject(error));
    socket.on("readable", onReadable);
    socket.on("end", onEnd);
    socket.on("close", onEnd);
    socket.on("error", onError);
  });
}

function drained(socket: Socket): Promise<void> {
  if (socket.destroyed || !socket.writableNeedDrain) return Promise.resolve();
  return new Promise((resolve) => {
    const settle = (): void => {
      socket.off("drain", settle);
      socket.off("close", settle);
      resolve();
    };
    socket.on("drain", settle);
    socket.on("close", settle);
  });
}
