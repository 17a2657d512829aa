/**
 * The units that a guest reads first after its disk was opened: kept in the bucket (boot-file.ts), so that the next
 * machine fetches them before they are asked for.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { BlockMap } from "../block-map/block-map.ts";
import { control } from "../chunk-cache/shared-state.ts";
import type { LocalCache } from "../chunk-cache/local-cache.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import {
  bootFileName,
  decodeBootFile,
  describeBoot,
  digestOf,
  encodeBootFile,
  type BootFile,
  type ChainState,
} from "./boot-file.ts";
import type { EarlyBoot } from "./early-boot.ts";
import { bootKeptRatio, bootUnitsMin } from "./limits.ts";
import type { LiveFile } from "./live-file.ts";

export interface BootListOptions {
  store: Pick<ObjectStore, "get" | "put">;
  prefix: string;
  cacheDirectory: string;
  live: LiveFile;
}

export class BootList {
  readonly #options: BootListOptions;
  readonly #key: string;
  readonly #path: string;
  /** As the bucket has it; null when nobody has looked, or there is none. */
  #known: Pick<BootFile, "units" | "stateDigest"> | null = null;

  constructor(options: BootListOptions) {
    this.#options = options;
    this.#key = `${options.prefix}/${bootFileName}`;
    this.#path = join(options.cacheDirectory, bootFileName);
  }

  /**
   * Begins to fetch what the last boot read, if the cache is empty. Settles when all of it is here. `early` is what
   * was asked for while the volume was being opened.
   */
  async start(local: LocalCache, early: EarlyBoot | null): Promise<void> {
    if (local.cache.state.control[control.foundFile] !== 0) {
      this.#known = decodeBootFile(readFile(this.#path));
      return;
    }
    // Without it the guest waits for each unit, and nothing else.
    const bytes = await (early?.bytes ?? this.#options.store.get(this.#key)).catch(() => null);
    const found = decodeBootFile(bytes);
    if (bytes === null || found === null) return;
    // The places are of no use any more, and there may be many.
    this.#known = { units: found.units, stateDigest: found.stateDigest };
    this.#note(bytes);
    await this.#options.live.prefetch(found.units);
  }

  /** Stores what this boot has read, if that is much else, and where it is, if that has changed. */
  async save(options: { map: BlockMap; state: ChainState; signal: AbortSignal }): Promise<void> {
    const { map, state, signal } = options;
    const { prefix, store, live } = this.#options;
    const recorded = [...live.recordedBoot()];
    const isNew = isWorthStoring(recorded, this.#known?.units ?? null);
    const units = isNew ? recorded : (this.#known?.units ?? []);
    if (units.length === 0 || (!isNew && this.#known?.stateDigest === digestOf(state))) return;
    const bytes = encodeBootFile(describeBoot(units, { map, prefix, state }));
    try {
      await store.put(this.#key, bytes, { signal });
    } catch {
      // The next close tries again; a list that is a little old does as well.
      return;
    }
    this.#note(bytes);
  }

  /** Beside the cache, so that the next opening here need not ask what the bucket has. */
  #note(bytes: Uint8Array): void {
    try {
      writeFileSync(this.#path, bytes);
    } catch {
      // On a full disk, or in a directory that was deleted: it is stored once more.
    }
  }
}

export function isWorthStoring(units: readonly number[], known: readonly number[] | null): boolean {
  if (units.length < bootUnitsMin) return false;
  if (known === null) return true;
  // A short stay says nothing against a longer list.
  if (units.length < known.length / 2) return false;
  const before = new Set(known);
  const kept = units.filter((unit) => before.has(unit)).length;
  return kept < units.length * bootKeptRatio;
}

function readFile(path: string): Uint8Array | null {
  try {
    return readFileSync(path);
  } catch {
    return null;
  }
}
