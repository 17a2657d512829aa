/** Images: sealed volumes named by the hash of their content (`images/<sha256>/`). */
import { createHash } from "node:crypto";
import { open, stat } from "node:fs/promises";
import { createReadStream } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { SpriteError } from "../../contract/errors.ts";
import { blockSizeBytes, unitSizeBytes } from "../block-map/geometry.ts";
import { readUpTo } from "../local-files.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { openObjectStore } from "../object-store/open-object-store.ts";
import { VolumeEngine } from "./engine.ts";
import { decodeHead, headKey } from "../lease/head.ts";
import { importLookMs, importPieceBytes, importWaitMsMax } from "./limits.ts";

/** Set when all of an image is in its volume; until then an import is begun anew. */
const completeAttribute = "image.complete";
/** The object that says so in the bucket, without opening the volume: the last thing an import writes. */
const sealName = "sealed.json";

/**
 * Stores a local file as an image, unless it is there already. Reading it is `openVolume` with
 * `readOnly`: the file's bytes, filled up with zeros to a multiple of 64 KiB. Returns the file's
 * SHA-256, which is the image's name.
 */
export async function importImage(options: {
  bucket: string;
  file: string;
  /**
   * Where the image of that hash is cached. The volume is open there during the import, so no other
   * may be.
   */
  cacheDirectory: string | ((hash: string) => string);
  /** As in `VolumeOptions`: another server may be importing the same image. */
  server?: string;
}): Promise<string> {
  const hash = await hashFile(options.file);
  const prefix = `images/${hash}`;
  const store = await openObjectStore(options.bucket);
  for (let waitedMs = 0; ; waitedMs += importLookMs) {
    if (await isImported(store, prefix)) return hash;
    try {
      await importInto(store, { ...options, prefix, hash });
      return hash;
    } catch (error) {
      const isHeld = error instanceof SpriteError && error.code === "conflict";
      if (!isHeld || waitedMs >= importWaitMsMax) throw error;
      // Another server is at it: its import is as good as ours.
      await delay(importLookMs);
    }
  }
}

/** Whether sprites of this image can start from this bucket. */
export async function imageExists(store: ObjectStore, hash: string): Promise<boolean> {
  return await isImported(store, `images/${hash}`);
}

async function isImported(store: ObjectStore, prefix: string): Promise<boolean> {
  const seal = await store.get(`${prefix}/${sealName}`);
  const head = await store.get(headKey(prefix));
  if (seal === null || head === null) return false;
  decodeHead(head);
  return true;
}

async function importInto(
  store: ObjectStore,
  options: {
    file: string;
    cacheDirectory: string | ((hash: string) => string);
    server?: string;
    prefix: string;
    hash: string;
  },
): Promise<void> {
  const { prefix, hash } = options;
  const { cacheDirectory } = options;
  const { size } = await stat(options.file);
  const engine = await VolumeEngine.open({
    store,
    prefix,
    cacheDirectory: typeof cacheDirectory === "string" ? cacheDirectory : cacheDirectory(hash),
    cacheSizeBytesMax: Number.MAX_SAFE_INTEGER,
    ...(options.server === undefined ? {} : { server: options.server }),
    sizeBytes: Math.max(1, Math.ceil(size / unitSizeBytes)) * unitSizeBytes,
    readOnly: false,
    syncIntervalMs: 1_000,
    // The import itself fails when its last step, storing everything, does.
    onProblem: () => undefined,
  });
  try {
    await writeFile(engine, options.file);
    engine.setAttribute(completeAttribute, "1");
  } catch (error) {
    await engine.close({ discard: true });
    throw new SpriteError("storage_failure", `import image ${hash}`, { cause: error });
  }
  try {
    // However long that takes: closing would not wait for all of an image to reach a bucket.
    await engine.sync();
  } finally {
    await engine.close({ discard: false });
  }
  await store.put(`${prefix}/${sealName}`, Buffer.from(`${JSON.stringify({ sizeBytes: size })}\n`));
}

async function writeFile(engine: VolumeEngine, path: string): Promise<void> {
  const file = await open(path, "r");
  try {
    for (let offset = 0; ; offset += importPieceBytes) {
      const piece = Buffer.alloc(importPieceBytes);
      const filled = await readUpTo(file, piece, offset);
      // The rest of the last block stays zero.
      const blocks = Math.ceil(filled / blockSizeBytes);
      if (blocks > 0) await engine.live.write(offset, piece.subarray(0, blocks * blockSizeBytes));
      if (filled < importPieceBytes) return;
    }
  } finally {
    await file.close();
  }
}

async function hashFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const bytes of createReadStream(path, { highWaterMark: importPieceBytes })) {
    hash.update(bytes as Buffer);
  }
  return hash.digest("hex");
}
