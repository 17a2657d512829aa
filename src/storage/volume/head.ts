/**
 * `head.json`: the one object of a volume that changes. It names the newest metadata
 * (docs/formats/residency-log.md, "Head").
 */
import { SpriteError } from "../../contract/errors.ts";

export const headFormatVersion = 1;

/** Checked by hand: a schema library would cost every sprite some megabytes for these few fields. */
export interface Head {
  formatVersion: typeof headFormatVersion;
  /** The newest cut in the bucket. */
  cut: number;
  /** Random; tells whether local state is what wrote this head. */
  nonce: string;
  /** Key of the map's copy, relative to the volume's prefix. */
  map: string;
  mapSha256: string;
  mapSizeBytes: number;
  /** Size of the disk. */
  sizeBytes: number;
  /** Who wrote it: for people. */
  writer: string;
  writtenAtMs: number;
}

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
  let fields: unknown;
  try {
    fields = JSON.parse(Buffer.from(bytes).toString());
  } catch (error) {
    throw new SpriteError("storage_failure", "the volume's head.json is no JSON", { cause: error });
  }
  if (!isHead(fields)) {
    throw new SpriteError(
      "storage_failure",
      "the volume's head.json is damaged or of another version",
    );
  }
  return fields;
}

function isHead(value: unknown): value is Head {
  if (typeof value !== "object" || value === null) return false;
  const fields = value as Record<string, unknown>;
  const matches = (name: keyof Head, pattern: RegExp): boolean => {
    const field = fields[name];
    return typeof field === "string" && pattern.test(field);
  };
  const isCount = (name: keyof Head, min: number): boolean => {
    const field = fields[name];
    return typeof field === "number" && Number.isSafeInteger(field) && field >= min;
  };
  return (
    fields.formatVersion === headFormatVersion &&
    isCount("cut", 0) &&
    matches("nonce", /^[0-9a-f]{32}$/) &&
    matches("map", /^meta\/[0-9a-f]{16}-[0-9a-f]{32}$/) &&
    matches("mapSha256", /^[0-9a-f]{64}$/) &&
    isCount("mapSizeBytes", 1) &&
    isCount("sizeBytes", 1) &&
    matches("writer", /^.{0,200}$/) &&
    isCount("writtenAtMs", 0)
  );
}
