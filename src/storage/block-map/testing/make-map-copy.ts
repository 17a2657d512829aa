import { createHash } from "node:crypto";
import { zstdCompressSync } from "node:zlib";
import type { BlockMap } from "../block-map.ts";

/** What the program that wrote heads of format 1 put into the bucket of the map as it is now. */
export function makeMapCopy(map: BlockMap): Buffer {
  const database = map.connection.serialize();
  const frame = zstdCompressSync(database);
  const header = Buffer.alloc(32);
  header.write("OSMAPCPY", 0, "latin1");
  header.writeUInt32LE(1, 8);
  header.writeUInt32LE(1, 12);
  header.writeBigUInt64LE(BigInt(database.length), 16);
  header.writeBigUInt64LE(BigInt(frame.length), 24);
  const sum = createHash("sha256").update(header).update(frame).digest();
  return Buffer.concat([header, sum, frame]);
}
