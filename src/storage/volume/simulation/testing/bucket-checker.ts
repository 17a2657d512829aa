/**
 * Watches the bucket for what must hold at every instant: whatever transaction of a map can be seen names only
 * segments that are there, whole; and no segment goes that a state which can still be restored names.
 */
import { segmentKey } from "../../../block-map/segments.ts";
import { parseLtxKey, type LtxFileName } from "../../../ltx/names.ts";
import { MapImage } from "./map-image.ts";

interface Version {
  /** Keys of the segments that it names. */
  keys: Set<string>;
  /** By the machines' clocks, which are set now and then, and by one that is right; null: it is the newest. */
  replacedAtMs: readonly number[] | null;
}

interface Chain {
  image: MapImage;
  txid: number;
  versions: Version[];
  /** What each transaction was when it came first. */
  seen: Map<number, Uint8Array>;
}

interface SegmentRow {
  id: number;
  suffix: Uint8Array;
  sizeBytes: number;
  owner: string;
}

export class BucketChecker {
  readonly #options: {
    nowsMs: () => readonly number[];
    retentionMs: number;
  };
  readonly #sizes = new Map<string, number>();
  readonly #chains = new Map<string, Chain>();
  /** The first thing that was wrong. */
  problem: string | null = null;

  constructor(options: { nowsMs: () => readonly number[]; retentionMs: number }) {
    this.#options = options;
  }

  /** The volume is destroyed from now on: only its forks need its segments. */
  forget(prefix: string): void {
    this.#chains.delete(prefix);
  }

  /** Of the newest transaction. */
  namedKeys(prefix: string): Set<string> {
    return this.#chains.get(prefix)?.versions.at(-1)?.keys ?? new Set();
  }

  /** The map as the newest transaction left it. */
  image(prefix: string): Buffer | null {
    return this.#chains.get(prefix)?.image.bytes() ?? null;
  }

  /** Whether some volume's newest state needs the object. */
  isNamed(key: string): boolean {
    return [...this.#chains.values()].some(({ versions }) => versions.at(-1)?.keys.has(key));
  }

  onChange(key: string, bytes: Uint8Array | null, before: Uint8Array | null): void {
    if (bytes === null) this.#sizes.delete(key);
    else this.#sizes.set(key, bytes.length);
    const isSegment = key.includes("/data/");
    if (isSegment && bytes === null && before !== null) this.#onSegmentGone(key);
    const isSame = bytes !== null && before !== null && Buffer.compare(bytes, before) === 0;
    if (isSegment && bytes !== null && before !== null && !isSame) {
      this.#fail(`segment ${key} changed its content`);
    }
    const prefix = key.slice(0, Math.max(0, key.indexOf("/meta/")));
    const ltx = parseLtxKey(`${prefix}/meta`, key);
    if (ltx?.level === 0 && bytes !== null) this.#onTransaction(prefix, ltx, bytes);
  }

  #onTransaction(prefix: string, { minTxid, maxTxid }: LtxFileName, bytes: Uint8Array): void {
    const known = this.#chains.get(prefix);
    const chain = known ?? newChain();
    if (this.#isRepeated(prefix, minTxid, bytes)) return;
    if (minTxid !== chain.txid + 1) {
      return this.#fail(`transaction ${minTxid} of ${prefix} follows ${chain.txid}`);
    }
    chain.txid = maxTxid;
    chain.seen.set(minTxid, bytes);
    chain.image.apply(bytes);
    const last = chain.versions.at(-1);
    if (last !== undefined) last.replacedAtMs = this.#options.nowsMs();
    chain.versions.push({ keys: this.#named(prefix, chain.image, maxTxid), replacedAtMs: null });
    this.#chains.set(prefix, chain);
  }

  /** A request that is delivered twice brings the same again, perhaps after it was merged and deleted. */
  #isRepeated(prefix: string, txid: number, bytes: Uint8Array): boolean {
    const seen = this.#chains.get(prefix)?.seen.get(txid);
    if (seen === undefined) return false;
    if (Buffer.compare(seen, bytes) !== 0)
      this.#fail(`there are two transactions ${txid} of ${prefix}`);
    return true;
  }

  /** The segments that a map names; all of them must be there. */
  #named(prefix: string, image: MapImage, txid: number): Set<string> {
    const keys = new Set<string>();
    for (const { id, suffix, sizeBytes, owner } of segmentsOf(image)) {
      const key = `${owner === "" ? prefix : owner}/${segmentKey(id, suffix)}`;
      keys.add(key);
      const stored = this.#sizes.get(key);
      if (stored === sizeBytes) continue;
      const what = stored === undefined ? "is missing" : `has ${stored} bytes, not ${sizeBytes}`;
      this.#fail(`transaction ${txid} of ${prefix} names ${key}, which ${what}`);
    }
    return keys;
  }

  #onSegmentGone(key: string): void {
    const { nowsMs, retentionMs } = this.#options;
    const now = nowsMs();
    // Of a past that lasted long by either clock nothing was promised.
    const isPast = (since: readonly number[]): boolean =>
      since.some((ms, clock) => (now[clock] ?? 0) - ms > retentionMs);
    for (const [prefix, { versions }] of this.#chains) {
      // A volume is there once its head is; what a fork that failed has left is nobody's.
      if (!this.#sizes.has(`${prefix}/head.json`)) continue;
      for (const [index, { keys, replacedAtMs }] of versions.entries()) {
        if (replacedAtMs !== null && isPast(replacedAtMs)) continue;
        if (!keys.has(key)) continue;
        this.#fail(`${key} was deleted, which version ${index + 1} of ${prefix} names`);
      }
    }
  }

  #fail(problem: string): void {
    this.problem ??= problem;
  }
}

function newChain(): Chain {
  return { image: new MapImage(), txid: 0, versions: [], seen: new Map() };
}

/** Those that are no garbage. */
function segmentsOf(image: MapImage): SegmentRow[] {
  const garbage = new Set(image.rows("garbage").map(({ rowid }) => rowid));
  return image
    .rows("segment")
    .filter(({ rowid }) => !garbage.has(rowid))
    .map(({ rowid: id, values: [, suffix, size, , , owner] }) => ({
      id,
      suffix: suffix as Uint8Array,
      sizeBytes: Number(size),
      owner: String(owner),
    }));
}
