/**
 * Just enough of RFC 6455 to know where one frame ends: the splice looks at headers only, never at
 * payloads.
 */

import { heldFrameSizeBytesMax } from "./limits.ts";

export type CloseCode = 1000 | 1001 | 1011;

const closeOpcode = 0x8;
const finalBit = 0x80;
const maskBit = 0x80;
const headerSizeBytesMax = 14;
const controlPayloadSizeBytesMax = 125;
const empty: readonly Buffer[] = [];

/** A close frame as a server sends it, unmasked. The reason is at most 123 bytes of ASCII. */
export function closeFrame(code: CloseCode, reason: string): Buffer {
  const text = Buffer.from(reason.slice(0, controlPayloadSizeBytesMax - 2), "latin1");
  const frame = Buffer.alloc(4 + text.length);
  frame[0] = finalBit | closeOpcode;
  frame[1] = 2 + text.length;
  frame.writeUInt16BE(code, 2);
  text.copy(frame, 4);
  return frame;
}

const pingOpcode = 0x9;
const pongOpcode = 0xa;

export interface ControlFrame {
  kind: "ping" | "close";
  payload: Buffer;
}

/** A client's ping or close, if the bytes are that and nothing else. */
export function readControlFrame(bytes: Buffer): ControlFrame | null {
  const [first = 0, second = 0] = bytes;
  const opcode = first & 0x0f;
  const length = second & 0x7f;
  const isControl = opcode === pingOpcode || opcode === closeOpcode;
  if (!isControl || (first & finalBit) === 0 || (second & maskBit) === 0) return null;
  if (length > controlPayloadSizeBytesMax || bytes.length !== 6 + length) return null;
  const payload = Buffer.from(bytes.subarray(6));
  for (const [index, byte] of payload.entries())
    payload[index] = byte ^ (bytes[2 + (index % 4)] ?? 0);
  return { kind: opcode === pingOpcode ? "ping" : "close", payload };
}

export function pongFrame(payload: Buffer): Buffer {
  return Buffer.concat([Buffer.of(finalBit | pongOpcode, payload.length), payload]);
}

/**
 * Lets whole frames through and holds the beginning of an unfinished one back, without copying. So
 * what the client has received always ends at a frame's end, except inside of a frame too large to
 * hold.
 */
export class FrameGate {
  readonly #header = new Uint8Array(headerSizeBytesMax);
  #headerLength = 0;
  #payloadLeft = 0;
  #held: Buffer[] = [];
  #heldLength = 0;
  /** Part of the current frame was let through already, because it is too large to hold. */
  #passing = false;
  #closePending = false;
  #closeSeen = false;

  /** A close frame was let through: the other side has said all it had to say. */
  get closeSeen(): boolean {
    return this.#closeSeen;
  }

  /** All that was let through ends where a frame ends. */
  get atBoundary(): boolean {
    return !this.#passing;
  }

  /** Returns what may go to the client now. */
  push(chunk: Buffer): readonly Buffer[] {
    const boundary = this.#scan(chunk);
    if (boundary > 0) return this.#release(chunk, boundary);
    if (this.#passing) return [chunk];
    this.#held.push(chunk);
    this.#heldLength += chunk.length;
    if (this.#heldLength <= heldFrameSizeBytesMax) return empty;
    this.#passing = true;
    return this.#takeHeld();
  }

  #release(chunk: Buffer, boundary: number): readonly Buffer[] {
    const released = this.#takeHeld();
    this.#passing = false;
    if (boundary === chunk.length) {
      released.push(chunk);
      return released;
    }
    released.push(chunk.subarray(0, boundary));
    this.#held.push(chunk.subarray(boundary));
    this.#heldLength = chunk.length - boundary;
    return released;
  }

  #takeHeld(): Buffer[] {
    const held = this.#held;
    this.#held = [];
    this.#heldLength = 0;
    return held;
  }

  /** Returns how far the chunk's last finished frame reaches, or 0. */
  #scan(chunk: Buffer): number {
    let position = 0;
    let boundary = 0;
    while (position < chunk.length) {
      if (this.#payloadLeft > 0) {
        const taken = Math.min(this.#payloadLeft, chunk.length - position);
        position += taken;
        this.#payloadLeft -= taken;
      } else {
        this.#header[this.#headerLength] = chunk[position] ?? 0;
        this.#headerLength += 1;
        position += 1;
        if (!this.#parseHeader()) continue;
      }
      if (this.#payloadLeft > 0) continue;
      boundary = position;
      this.#closeSeen ||= this.#closePending;
    }
    return boundary;
  }

  /** True when the header is whole; then it is taken and the payload's length known. */
  #parseHeader(): boolean {
    if (this.#headerLength < 2) return false;
    const lengthByte = this.#header[1] ?? 0;
    const shortLength = lengthByte & 0x7f;
    const extendedSize = shortLength === 126 ? 2 : shortLength === 127 ? 8 : 0;
    const maskSize = (lengthByte & maskBit) === 0 ? 0 : 4;
    if (this.#headerLength < 2 + extendedSize + maskSize) return false;

    let length = shortLength;
    if (extendedSize > 0) {
      length = 0;
      // Lengths above 2^53 lose precision, and no connection lives long enough to notice.
      for (let index = 0; index < extendedSize; index += 1) {
        length = length * 256 + (this.#header[2 + index] ?? 0);
      }
    }
    if (((this.#header[0] ?? 0) & 0x0f) === closeOpcode) this.#closePending = true;
    this.#headerLength = 0;
    this.#payloadLeft = length;
    return true;
  }
}
