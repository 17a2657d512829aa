/** What inotify(7) tells, as it comes: whole records, whatever the reads. */

export interface Change {
  watch: number;
  bits: number;
  /** The same for the two halves of a rename. */
  cookie: number;
  /** Empty when the watched directory itself changed. */
  name: Buffer;
}

const headBytes = 16;

/** Reads the records that are whole; what is left of the last one comes back. */
export function readChanges(bytes: Buffer): { changes: Change[]; rest: Buffer } {
  const changes: Change[] = [];
  let at = 0;
  while (bytes.length - at >= headBytes) {
    const nameBytes = bytes.readUInt32LE(at + 12);
    const end = at + headBytes + nameBytes;
    if (end > bytes.length) break;
    const name = bytes.subarray(at + headBytes, end);
    const zero = name.indexOf(0);
    changes.push({
      watch: bytes.readInt32LE(at),
      bits: bytes.readUInt32LE(at + 4),
      cookie: bytes.readUInt32LE(at + 8),
      // Copied: the reads' buffers are large, and few of their bytes are names.
      name: Buffer.from(zero < 0 ? name : name.subarray(0, zero)),
    });
    at = end;
  }
  return { changes, rest: bytes.subarray(at) };
}
