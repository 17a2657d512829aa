/** A server's WebSocket frames (RFC 6455). */

/** The header of a whole message's only frame. */
export function frameHeader(kind: "text" | "binary" | "pong" | "close", length: number): Buffer {
  const first = 0x80 | opcodes[kind];
  if (length < 126) return Buffer.of(first, length);
  if (length < 65_536) return Buffer.of(first, 126, length >>> 8, length & 0xff);
  const header = Buffer.alloc(10);
  header[0] = first;
  header[1] = 127;
  header.writeBigUInt64BE(BigInt(length), 2);
  return header;
}

const opcodes = { text: 0x1, binary: 0x2, close: 0x8, pong: 0xa } as const;

/** A reason is cut to what a close frame holds. */
export function closePayload(code: number, reason: string): Buffer {
  const payload = Buffer.alloc(2);
  payload.writeUInt16BE(code);
  let cut = reason;
  while (Buffer.byteLength(cut) > closeReasonBytesMax) cut = cut.slice(0, -1);
  return Buffer.concat([payload, Buffer.from(cut)]);
}

const closeReasonBytesMax = 123;
