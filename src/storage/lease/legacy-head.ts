/**
 * `head.json` of format 1, which named a copy of the whole map (docs/formats/head.md, "Format 1"). It
 * is read, and written as format 2 when its volume is opened for writing.
 */
import { SpriteError } from "../../contract/errors.ts";

/** A copy of the whole map, as format 1 stored it. */
export interface LegacyMap {
  /** Relative to the volume's prefix. */
  key: string;
  sha256: string;
}

export interface LegacyHead {
  formatVersion: 1;
  /** Tells whether local state is what wrote this head. */
  nonce: string;
  map: LegacyMap;
  /** Size of the disk. */
  sizeBytes: number;
  writtenAtMs: number;
}

export function isLegacyHead(value: unknown): value is Record<string, unknown> {
  return (
    typeof value === "object" &&
    value !== null &&
    (value as Record<string, unknown>)["formatVersion"] === 1
  );
}

/** @throws SpriteError storage_failure */
export function decodeLegacyHead(fields: Record<string, unknown>): LegacyHead {
  const text = (name: string, pattern: RegExp): string => {
    const value = fields[name];
    if (typeof value === "string" && pattern.test(value)) return value;
    throw new SpriteError("storage_failure", `the volume's head.json is damaged: ${name}`);
  };
  const count = (name: string): number => {
    const value = fields[name];
    if (typeof value === "number" && Number.isSafeInteger(value) && value >= 1) return value;
    throw new SpriteError("storage_failure", `the volume's head.json is damaged: ${name}`);
  };
  return {
    formatVersion: 1,
    nonce: text("nonce", /^[0-9a-f]{32}$/),
    map: {
      key: text("map", /^meta\/[0-9a-f]{16}-[0-9a-f]{32}$/),
      sha256: text("mapSha256", /^[0-9a-f]{64}$/),
    },
    sizeBytes: count("sizeBytes"),
    writtenAtMs: count("writtenAtMs"),
  };
}
