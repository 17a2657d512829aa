/**
 * `head.json`: the one object of a volume that changes. It says who holds the volume, and hints at
 * the newest metadata; the truth is the chain of LTX files (docs/formats/head.md).
 */
import { SpriteError } from "../../contract/errors.ts";
import { decodeLegacyHead, isLegacyHead, type LegacyHead, type LegacyMap } from "./legacy-head.ts";

const headFormatVersion = 2;

/** Who may write the volume now. */
export interface Holder {
  /** Whose `servers/<id>.json` tells whether it lives. */
  server: string;
  /** 16 hex digits: the node id in the LTX files that this holder writes. */
  writer: string;
  /** For people: ms since the epoch. */
  sinceMs: number;
}

/** One file of the chain, with when its newest transaction was made, ms since the epoch. */
export type HeadFile = readonly [
  level: number,
  minTxid: number,
  maxTxid: number,
  sizeBytes: number,
  createdAtMs: number,
];

/** Checked by hand: a schema library would cost every sprite some megabytes for these few fields. */
export interface Head {
  formatVersion: typeof headFormatVersion;
  /** One more with every holder. */
  generation: number;
  /** Null after an orderly close: then `txid` and `files` are exact. */
  holder: Holder | null;
  /** The last holder's writer id, kept when it lets go: local state of that writer may be believed. */
  writer: string;
  /** The newest TXID when this was written; later ones may exist while somebody holds the volume. */
  txid: number;
  /** The files of the chain up to `txid`; none when there are too many to name, or none yet. */
  files: readonly HeadFile[];
  /** Size of the disk. */
  sizeBytes: number;
  /** The map of a volume of format 1, until the chain has a snapshot of it. */
  legacyMap: LegacyMap | null;
  writtenAtMs: number;
}

export interface TaggedHead {
  value: Head;
  etag: string;
}

export function headKey(prefix: string): string {
  return `${prefix}/head.json`;
}

export function encodeHead(head: Head): Uint8Array {
  return Buffer.from(`${JSON.stringify(head)}\n`);
}

/** @throws SpriteError storage_failure */
export function decodeHead(bytes: Uint8Array): Head | LegacyHead {
  let fields: unknown;
  try {
    fields = JSON.parse(Buffer.from(bytes).toString());
  } catch (error) {
    throw new SpriteError("storage_failure", "the volume's head.json is no JSON", { cause: error });
  }
  if (isLegacyHead(fields)) return decodeLegacyHead(fields);
  if (!isHead(fields)) {
    const message = "the volume's head.json is damaged or of another version";
    throw new SpriteError("storage_failure", message);
  }
  return fields;
}

/** Also of a head that was kept beside the local state. */
export function isHead(value: unknown): value is Head {
  if (typeof value !== "object" || value === null) return false;
  const fields = value as Record<string, unknown>;
  return (
    fields["formatVersion"] === headFormatVersion &&
    isCount(fields["generation"], 1) &&
    (fields["holder"] === null || isHolder(fields["holder"])) &&
    isWriter(fields["writer"]) &&
    isCount(fields["txid"], 0) &&
    Array.isArray(fields["files"]) &&
    fields["files"].every(isHeadFile) &&
    isCount(fields["sizeBytes"], 1) &&
    (fields["legacyMap"] === null || isLegacyMap(fields["legacyMap"])) &&
    isCount(fields["writtenAtMs"], 0)
  );
}

function isHolder(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const fields = value as Record<string, unknown>;
  const { server } = fields;
  return (
    typeof server === "string" &&
    /^[0-9a-z-]{1,64}$/.test(server) &&
    isWriter(fields["writer"]) &&
    isCount(fields["sinceMs"], 0)
  );
}

function isLegacyMap(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const { key, sha256 } = value as Record<string, unknown>;
  return (
    typeof key === "string" &&
    /^meta\/[0-9a-f-]{1,80}$/.test(key) &&
    typeof sha256 === "string" &&
    /^[0-9a-f]{64}$/.test(sha256)
  );
}

function isHeadFile(value: unknown): boolean {
  if (!Array.isArray(value) || value.length !== 5) return false;
  const [level, min, max, sizeBytes, createdAtMs] = value as unknown[];
  const isRange = isCount(min, 1) && isCount(max, Number(min));
  return isCount(level, 0) && isRange && isCount(sizeBytes, 1) && isCount(createdAtMs, 0);
}

function isWriter(value: unknown): boolean {
  return typeof value === "string" && /^[0-9a-f]{16}$/.test(value);
}

function isCount(value: unknown, min: number): boolean {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= min;
}
