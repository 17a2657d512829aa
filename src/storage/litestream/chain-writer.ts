/**
 * The one writer of a chain. Every transaction is a create-only PUT of the next TXID: of two writers only
 * one can make it, so that there is one history whatever leases and clocks say.
 */
import { randomBytes } from "node:crypto";
import { assert } from "../../base/assert.ts";
import { SpriteError } from "../../contract/errors.ts";
import { FencedError } from "../lease/fenced-error.ts";
import { encodeLtx } from "../ltx/encode.ts";
import { ltxHeader, type LtxHeader } from "../ltx/format.ts";
import { readHeader } from "../ltx/header.ts";
import { ltxKey } from "../ltx/names.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { compareFiles } from "./chain-files.ts";
import { maintainChain } from "./chain-maintenance.ts";
import type {
  CapturedChange,
  Chain,
  ChainFile,
  MaintenanceOptions,
  MaintenancePolicy,
  MaintenanceResult,
  Position,
} from "./database-replica.ts";
import { shipAttemptsMax } from "./limits.ts";
import { RecentFiles } from "./recent-files.ts";

export interface ChainWriterOptions {
  store: ObjectStore;
  /** Without a slash at its end. */
  prefix: string;
  /** New whenever local state begins anew; kept as long as the saved position is. */
  writer: bigint;
  position: Position | null;
  /** What is known of the chain: a hint or a listing. Maintenance looks no further until it deletes. */
  files: readonly ChainFile[];
  nowMs: () => number;
}

/** A node id for a writer whose local state begins anew. */
export function newWriter(): bigint {
  return randomBytes(8).readBigUInt64BE();
}

export class ChainWriter implements Chain {
  readonly #options: ChainWriterOptions;
  readonly #recent = new RecentFiles();
  #position: Position | null;
  #files: ChainFile[];
  #newestTimeMs: number;
  #isShipping = false;
  #isFenced = false;

  constructor(options: ChainWriterOptions) {
    this.#options = options;
    this.#position = options.position;
    this.#files = options.files.toSorted(compareFiles);
    this.#newestTimeMs = Math.max(0, ...options.files.map((file) => file.createdAtMs));
  }

  get position(): Position | null {
    return this.#position;
  }

  files(): readonly ChainFile[] {
    return this.#files;
  }

  async ship(change: CapturedChange, signal?: AbortSignal): Promise<Position> {
    assert(!this.#isShipping, "one transaction is shipped at a time");
    assert(this.#position !== null || change.isImage, "a chain begins with a whole database");
    this.#isShipping = true;
    try {
      return await this.#ship(change, signal);
    } finally {
      this.#isShipping = false;
    }
  }

  async maintain(
    policy: MaintenancePolicy,
    options: MaintenanceOptions,
  ): Promise<MaintenanceResult> {
    if (this.#isFenced) throw new FencedError();
    const { store, prefix, nowMs } = this.#options;
    return await maintainChain({
      ...{ store, prefix, policy, nowMs, ...options },
      recent: this.#recent,
      files: () => this.#files,
      replaceFiles: (files) => (this.#files = files.toSorted(compareFiles)),
    });
  }

  async #ship(change: CapturedChange, signal: AbortSignal | undefined): Promise<Position> {
    const { store, prefix, writer } = this.#options;
    for (let attempt = 0; attempt < shipAttemptsMax; attempt += 1) {
      if (this.#isFenced) throw new FencedError();
      const txid = (this.#position?.txid ?? 0) + 1;
      const bytes = encodeLtx(this.#header(change, txid), change.pages());
      const key = ltxKey(prefix, { level: 0, minTxid: txid, maxTxid: txid });
      if (await store.putIfAbsent(key, bytes, { signal })) return this.#note(txid, bytes);
      const found = await store.get(key, { signal });
      // It was there a moment ago; whoever deletes the newest transaction breaks the chain.
      if (found === null) throw new SpriteError("storage_failure", `${key} was there and is gone`);
      if (readHeader(found).nodeId !== writer) {
        this.#isFenced = true;
        throw new FencedError();
      }
      const position = this.#note(txid, found);
      if (Buffer.compare(found, bytes) === 0) return position;
      // An earlier attempt of ours, of which we did not hear: this change has all of it, and more.
    }
    throw new SpriteError("storage_failure", `${prefix} has transactions that nobody remembers`);
  }

  #header(change: CapturedChange, txid: number): LtxHeader {
    const { pageSizeBytes, commitPages } = change;
    // Restores to a time need times that do not go back, whatever the clock does.
    const timestampMs = Math.max(this.#options.nowMs(), this.#newestTimeMs);
    const nodeId = this.#options.writer;
    const fields = { pageSizeBytes, commitPages, timestampMs, nodeId };
    return ltxHeader({ ...fields, minTxid: txid, maxTxid: txid });
  }

  #note(txid: number, bytes: Uint8Array): Position {
    const { timestampMs } = readHeader(bytes);
    const name = { level: 0, minTxid: txid, maxTxid: txid };
    const file = { ...name, sizeBytes: bytes.length, createdAtMs: timestampMs };
    this.#newestTimeMs = Math.max(this.#newestTimeMs, timestampMs);
    this.#recent.add(file, bytes);
    this.#files = [...this.#files, file].toSorted(compareFiles);
    this.#position = { txid, writer: this.#options.writer };
    return this.#position;
  }
}
