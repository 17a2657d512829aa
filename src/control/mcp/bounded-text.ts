/** Text of any length in little memory: its beginning and its end, and how much is left out between. */
export class BoundedText {
  readonly #halfSizeBytes: number;
  #head: Buffer | null = null;
  /** A ring: the byte at position `p` of what follows the head lies at `p % half`. */
  #tail: Buffer | null = null;
  #sizeBytes = 0;

  /** @param sizeBytesMax of what is kept; even */
  constructor(sizeBytesMax: number) {
    this.#halfSizeBytes = Math.floor(sizeBytesMax / 2);
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  push(bytes: Buffer): void {
    this.#head ??= Buffer.allocUnsafe(this.#halfSizeBytes);
    const room = Math.max(0, this.#halfSizeBytes - this.#sizeBytes);
    const used = bytes.copy(this.#head, this.#sizeBytes, 0, room);
    this.#sizeBytes += used;
    if (used < bytes.length) this.#pushTail(bytes.subarray(used));
  }

  #pushTail(bytes: Buffer): void {
    this.#tail ??= Buffer.allocUnsafe(this.#halfSizeBytes);
    const skipped = Math.max(0, bytes.length - this.#halfSizeBytes);
    const kept = bytes.subarray(skipped);
    const start = (this.#sizeBytes + skipped) % this.#halfSizeBytes;
    const used = kept.copy(this.#tail, start);
    kept.copy(this.#tail, 0, used);
    this.#sizeBytes += bytes.length;
  }

  /** What is no UTF-8 is replaced; a character that the cut divides is left out. */
  toString(): string {
    const half = this.#halfSizeBytes;
    const head = this.#head?.subarray(0, this.#sizeBytes) ?? Buffer.alloc(0);
    if (this.#tail === null) return head.toString("utf8");
    const leftOut = this.#sizeBytes - 2 * half;
    const start = this.#sizeBytes % half;
    const tail =
      leftOut < 0
        ? this.#tail.subarray(0, this.#sizeBytes - half)
        : Buffer.concat([this.#tail.subarray(start), this.#tail.subarray(0, start)]);
    if (leftOut <= 0) return Buffer.concat([head, tail]).toString("utf8");
    const beginning = new TextDecoder("utf-8").decode(head, { stream: true });
    const end = tail.subarray(continuationBytes(tail)).toString("utf8");
    return `${beginning}\n[... ${leftOut} bytes left out ...]\n${end}`;
  }
}

/** Bytes at the start that belong to a character which began before. */
function continuationBytes(bytes: Buffer): number {
  let count = 0;
  while (count < 3 && ((bytes[count] ?? 0) & 0xc0) === 0x80) count += 1;
  return count;
}
