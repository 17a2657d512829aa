import { must } from "../../base/assert.ts";

/**
 * Keys of LTX files as litestream's S3 client lays them out: `<prefix>/<level, 4 hex digits>/<min>-<max>.ltx`, the
 * transactions as 16 hex digits, so that the keys of a level sort by transaction.
 */
export interface LtxFileName {
  level: number;
  minTxid: number;
  maxTxid: number;
}

/** Where litestream keeps snapshots; compactions are on levels 1 to 8, single transactions on level 0. */
export const snapshotLevel = 9;

const pattern = /^([0-9a-f]{4})\/([0-9a-f]{16})-([0-9a-f]{16})\.ltx$/;

/** The key below the prefix of the database, which has no slash at its end. */
export function ltxKey(prefix: string, { level, minTxid, maxTxid }: LtxFileName): string {
  return `${ltxLevelPrefix(prefix, level)}${hex(minTxid, 16)}-${hex(maxTxid, 16)}.ltx`;
}

/** What the keys of a level begin with, for listing. */
export function ltxLevelPrefix(prefix: string, level: number): string {
  return `${prefix}/${hex(level, 4)}/`;
}

/** What a key below the prefix names, or null when it is no LTX file's. */
export function parseLtxKey(prefix: string, key: string): LtxFileName | null {
  if (!key.startsWith(`${prefix}/`)) return null;
  const match = pattern.exec(key.slice(prefix.length + 1));
  if (match === null) return null;
  const [level, minTxid, maxTxid] = match.slice(1).map((digits) => Number.parseInt(digits, 16));
  const name = {
    level: must(level, "the pattern has a level"),
    minTxid: must(minTxid, "the pattern has a first transaction"),
    maxTxid: must(maxTxid, "the pattern has a last transaction"),
  };
  const isPossible =
    name.minTxid >= 1 && name.maxTxid >= name.minTxid && Number.isSafeInteger(name.maxTxid);
  return isPossible ? name : null;
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, "0");
}
