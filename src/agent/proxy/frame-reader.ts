/**
 * A client's WebSocket frames (RFC 6455), read as they come: the bytes of a message go on piece by
 * piece, and no message is ever here as a whole, however large its sender made it.
 */
import { frameTextBytesMax } from "./limits.ts";

export interface FrameHandlers {
  /** A piece of a binary message, in the reader's own chunk, which it gives away. */
  onBytes(bytes: Buffer): void;
  /** A text message; null for one that is longer than any that means something. */
  onText(text: string | null): void;
  onPing(payload: Buffer): void;
  /** Without a code the client gave none. */
  onClose(code: number | null): void;
}

/** The client does not keep to the protocol; the code says how, for the close frame. */
export class FrameError extends Error {
  override readonly name = "FrameError";
  readonly code = 1002;
}

const opcode = { continuation: 0x0, text: 0x1, binary: 0x2, close: 0x8, ping: 0x9, pong: 0xa };
const finalBit = 0x80;
const reservedBits = 0x70;
const maskBit = 0x80;
const headerBytesMax = 14;
const controlBytesMax = 125;

export class FrameReader {
  readonly #handlers: FrameHandlers;
  readonly #header = Buffer.alloc(headerBytesMax);
  #headerLength = 0;
  /** Of the frame whose payload is being read. */
  #opcode = 0;
  #isFinal = true;
  #payloadLeft = 0;
  readonly #mask = Buffer.alloc(4);
  #maskOffset = 0;
  #isInPayload = false;
  /** Of the message that further frames belong to; null between messages. */
  #message: "text" | "binary" | null = null;
  #text: Buffer[] = [];
  #textLength = 0;
  #control: Buffer[] = [];

  constructor(handlers: FrameHandlers) {
    this.#handlers = handlers;
  }

  /** Takes a chunk as it came, and changes it. @throws FrameError */
  push(chunk: Buffer): void {
    let offset = 0;
    while (offset < chunk.length) {
      if (this.#isInPayload) {
        const part = chunk.subarray(offset, offset + this.#payloadLeft);
        offset += part.length;
        this.#onPayload(part);
      } else {
        offset = this.#readHeader(chunk, offset);
      }
      if (this.#isInPayload && this.#payloadLeft === 0) this.#endFrame();
    }
  }

  /** The place behind what it has taken. */
  #readHeader(chunk: Buffer, start: number): number {
    const header = this.#header;
    let offset = start;
    while (offset < chunk.length) {
      header[this.#headerLength] = chunk[offset] ?? 0;
      this.#headerLength += 1;
      offset += 1;
      if (this.#headerLength < 2) continue;
      const shortLength = (header[1] ?? 0) & 0x7f;
      const extendedBytes = shortLength === 126 ? 2 : shortLength === 127 ? 8 : 0;
      if (this.#headerLength < 2 + extendedBytes + 4) {
        if (this.#headerLength === 2) this.#check(header[0] ?? 0, header[1] ?? 0);
        continue;
      }
      this.#beginFrame(shortLength, extendedBytes);
      break;
    }
    return offset;
  }

  #check(first: number, second: number): void {
    if ((first & reservedBits) !== 0) throw new FrameError("reserved bits are set");
    if ((second & maskBit) === 0) throw new FrameError("a client's frame is not masked");
    const code = first & 0x0f;
    if (!Object.values(opcode).includes(code)) throw new FrameError("an unknown kind of frame");
    const isFinal = (first & finalBit) !== 0;
    if (code >= opcode.close && (!isFinal || (second & 0x7f) > controlBytesMax)) {
      throw new FrameError("a control frame is in pieces, or too long");
    }
    if (code === opcode.continuation && this.#message === null) {
      throw new FrameError("a message goes on that has not begun");
    }
    if ((code === opcode.text || code === opcode.binary) && this.#message !== null) {
      throw new FrameError("a message begins within another");
    }
  }

  #beginFrame(shortLength: number, extendedBytes: number): void {
    const header = this.#header;
    const first = header[0] ?? 0;
    this.#payloadLeft = shortLength;
    if (extendedBytes === 2) this.#payloadLeft = header.readUInt16BE(2);
    if (extendedBytes === 8) {
      const length = header.readBigUInt64BE(2);
      if (length > BigInt(Number.MAX_SAFE_INTEGER)) throw new FrameError("a frame is too long");
      this.#payloadLeft = Number(length);
    }
    header.copy(this.#mask, 0, 2 + extendedBytes);
    this.#maskOffset = 0;
    this.#headerLength = 0;
    this.#opcode = first & 0x0f;
    this.#isFinal = (first & finalBit) !== 0;
    this.#isInPayload = true;
    if (this.#opcode === opcode.text) this.#message = "text";
    if (this.#opcode === opcode.binary) this.#message = "binary";
  }

  #onPayload(part: Buffer): void {
    this.#maskOffset = unmask(part, this.#mask, this.#maskOffset);
    this.#payloadLeft -= part.length;
    if (this.#opcode >= opcode.close) {
      this.#control.push(part);
    } else if (this.#message === "binary") {
      this.#handlers.onBytes(part);
    } else {
      this.#textLength += part.length;
      if (this.#textLength <= frameTextBytesMax) this.#text.push(part);
    }
  }

  #endFrame(): void {
    this.#isInPayload = false;
    if (this.#opcode >= opcode.close) {
      this.#endControl();
      return;
    }
    if (!this.#isFinal) return;
    const isText = this.#message === "text";
    this.#message = null;
    if (!isText) return;
    const isKept = this.#textLength <= frameTextBytesMax;
    const text = isKept ? Buffer.concat(this.#text).toString("utf8") : null;
    this.#text = [];
    this.#textLength = 0;
    this.#handlers.onText(text);
  }

  #endControl(): void {
    const payload = Buffer.concat(this.#control);
    this.#control = [];
    if (this.#opcode === opcode.ping) this.#handlers.onPing(payload);
    if (this.#opcode === opcode.close) {
      this.#handlers.onClose(payload.length >= 2 ? payload.readUInt16BE(0) : null);
    }
  }
}

/** Takes the mask off in place, four bytes at a time where they lie so; returns where the mask goes on. */
export function unmask(bytes: Buffer, mask: Buffer, maskOffset: number): number {
  const { length, byteOffset } = bytes;
  const wordsStart = Math.min(length, (4 - (byteOffset & 3)) & 3);
  const wordsEnd = wordsStart + ((length - wordsStart) & ~3);
  const unmaskBytes = (start: number, end: number): void => {
    for (let index = start; index < end; index += 1) {
      bytes[index] = (bytes[index] ?? 0) ^ (mask[(maskOffset + index) & 3] ?? 0);
    }
  };
  unmaskBytes(0, wordsStart);
  if (wordsEnd > wordsStart) {
    const rotated = Buffer.alloc(4);
    for (let n = 0; n < 4; n += 1) rotated[n] = mask[(maskOffset + wordsStart + n) & 3] ?? 0;
    const word = rotated.readInt32LE(0);
    const count = (wordsEnd - wordsStart) / 4;
    const words = new Int32Array(bytes.buffer, byteOffset + wordsStart, count);
    for (let n = 0; n < count; n += 1) words[n] = (words[n] ?? 0) ^ word;
  }
  unmaskBytes(wordsEnd, length);
  return (maskOffset + length) & 3;
}
