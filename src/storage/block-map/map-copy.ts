import { createHash } from "node:crypto";
import { open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { promisify } from "node:util";
import { zstdDecompress } from "node:zlib";
import { SpriteError } from "../../contract/errors.ts";
import { sidecarPaths } from "../database.ts";
import { syncDirectory } from "../local-files.ts";
import { mapSizeBytesMax } from "./limits.ts";

/**
 * A block map as heads of format 1 have it in the bucket (docs/formats/block-map.md, section "Copies"): a
 * header of 64 bytes, then the SQLite file as one zstd frame. Nobody writes these any more. The SHA-256
 * covers the header before it and the frame, so a damaged copy is an error and never a smaller or an empty map.
 *
 * | offset | size | field                              |
 * |      0 |    8 | magic "OSMAPCPY"                   |
 * |      8 |    4 | format version, u32 little-endian  |
 * |     12 |    4 | codec: 1 = zstd                    |
 * |     16 |    8 | size of the SQLite file, u64       |
 * |     24 |    8 | size of the frame, u64             |
 * |     32 |   32 | SHA-256                            |
 */
const magic = "OSMAPCPY";
const formatVersion = 1;
const codecZstd = 1;
const hashedHeaderSizeBytes = 32;
const headerSizeBytes = 64;
const decompress = promisify(zstdDecompress);

/**
 * Writes the database of a copy to `path`, whole or not at all.
 * @throws SpriteError storage_failure when the copy is damaged; `path` is untouched then
 */
export async function decodeMapCopy(path: string, copy: Uint8Array): Promise<void> {
  const database = await verifiedDatabase(Buffer.from(copy.buffer, copy.byteOffset, copy.length));
  const draft = `${path}.restored`;
  const file = await open(draft, "w", 0o600);
  try {
    await file.writeFile(database);
    await file.sync();
  } finally {
    await file.close();
  }
  // A log left by the former map would be replayed into this one. The database goes first: a crash
  // in between leaves no map, which means "fetch it again", and never a map without its log.
  await rm(path, { force: true });
  for (const stale of sidecarPaths(path)) await rm(stale, { force: true });
  await rename(draft, path);
  await syncDirectory(dirname(path));
}

async function verifiedDatabase(copy: Buffer): Promise<Uint8Array> {
  if (copy.length < headerSizeBytes || copy.toString("latin1", 0, 8) !== magic) {
    throw damaged("it has no header");
  }
  const version = copy.readUInt32LE(8);
  const codec = copy.readUInt32LE(12);
  if (version !== formatVersion || codec !== codecZstd) {
    throw damaged(`format ${version} with codec ${codec} is unknown`);
  }
  const sizeBytes = Number(copy.readBigUInt64LE(16));
  const frameSizeBytes = Number(copy.readBigUInt64LE(24));
  if (copy.length !== headerSizeBytes + frameSizeBytes) throw damaged("it is not complete");
  const stored = copy.subarray(hashedHeaderSizeBytes, headerSizeBytes);
  if (!hashOf(copy).equals(stored)) throw damaged("its checksum does not match");
  if (sizeBytes > mapSizeBytesMax) throw damaged(`a map of ${sizeBytes} bytes is too large`);
  const database = await decompress(copy.subarray(headerSizeBytes), { maxOutputLength: sizeBytes });
  if (database.length !== sizeBytes) throw damaged("its size does not match");
  return database;
}

function hashOf(copy: Buffer): Buffer {
  const hash = createHash("sha256");
  hash.update(copy.subarray(0, hashedHeaderSizeBytes));
  hash.update(copy.subarray(headerSizeBytes));
  return hash.digest();
}

function damaged(reason: string): SpriteError {
  return new SpriteError("storage_failure", `the copy of the block map is damaged: ${reason}`);
}
