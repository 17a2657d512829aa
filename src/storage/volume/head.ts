/** `head.json`: the one object of a volume that changes. It names the newest metadata (docs/formats/residency-log.md, "Head"). */
import { z } from "zod";
import { SpriteError } from "../../contract/errors.ts";

export const headFormatVersion = 1;

const headSchema = z.object({
  formatVersion: z.literal(headFormatVersion),
  /** The newest cut in the bucket. */
  cut: z.number().int().nonnegative(),
  /** Random; tells whether local state is what wrote this head. */
  nonce: z.string().regex(/^[0-9a-f]{32}$/),
  /** Key of the map's copy, relative to the volume's prefix. */
  map: z.string().regex(/^meta\/[0-9a-f]{16}-[0-9a-f]{32}$/),
  mapSha256: z.string().regex(/^[0-9a-f]{64}$/),
  mapSizeBytes: z.number().int().positive(),
  /** Size of the disk. */
  sizeBytes: z.number().int().positive(),
  /** Who wrote it: for people. */
  writer: z.string().max(200),
  writtenAtMs: z.number().int().nonnegative(),
});

export type Head = z.infer<typeof headSchema>;

export function headKey(prefix: string): string {
  return `${prefix}/head.json`;
}

export function mapCopyKey(cut: number, nonce: string): string {
  return `meta/${cut.toString(16).padStart(16, "0")}-${nonce}`;
}

export function encodeHead(head: Head): Uint8Array {
  return Buffer.from(`${JSON.stringify(head, null, 2)}\n`);
}

/** @throws SpriteError storage_failure */
export function decodeHead(bytes: Uint8Array): Head {
  try {
    return headSchema.parse(JSON.parse(Buffer.from(bytes).toString()));
  } catch (error) {
    throw new SpriteError("storage_failure", "the volume's head.json is damaged", { cause: error });
  }
}
