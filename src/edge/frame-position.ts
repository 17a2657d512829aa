/** Where in a WebSocket's frames a stream of bytes is (RFC 6455, section 5.2): a goodbye fits only between two of them. */
export class FramePosition {
  /** Bytes of the header so far; its length is known with the second. */
  readonly #header = new Uint8Array(14);
  #headerBytes = 0;
  #payloadLeft = 0;

  get isBetweenFrames(): boolean {
    return this.#headerBytes === 0 && this.#payloadLeft === 0;
  }

  push(bytes: Uint8Array): void {
    let at = 0;
    while (at < bytes.length) {
      if (this.#payloadLeft > 0) {
        const taken = Math.min(this.#payloadLeft, bytes.length - at);
        this.#payloadLeft -= taken;
        at += taken;
        continue;
      }
      this.#header[this.#headerBytes] = bytes[at] ?? 0;
      this.#headerBytes += 1;
      at += 1;
      const payload = payloadLength(this.#header, this.#headerBytes);
      if (payload === null) continue;
      this.#headerBytes = 0;
      this.#payloadLeft = payload;
    }
  }
}

/** Null while the header is not whole. */
function payloadLength(header: Uint8Array, count: number): number | null {
  if (count < 2) return null;
  const second = header[1] ?? 0;
  const short = second & 0x7f;
  const lengthBytes = short === 126 ? 2 : short === 127 ? 8 : 0;
  const maskBytes = (second & 0x80) === 0 ? 0 : 4;
  if (count < 2 + lengthBytes + maskBytes) return null;
  let length = lengthBytes === 0 ? short : 0;
  for (const byte of header.subarray(2, 2 + lengthBytes)) length = length * 256 + byte;
  return length;
}

/** A server's close frame, unmasked. */
export function closeFrame(code: number, reason: string): Buffer {
  const text = Buffer.from(reason, "latin1").subarray(0, 123);
  const frame = Buffer.alloc(4 + text.length);
  frame[0] = 0x88;
  frame[1] = 2 + text.length;
  frame.writeUInt16BE(code, 2);
  text.copy(frame, 4);
  return frame;
}
