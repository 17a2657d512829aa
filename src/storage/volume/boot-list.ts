/**
 * The units that a guest reads first after its disk was opened (docs/formats/residency-log.md, "boot.json"): kept
 * in the bucket, so that the next machine fetches them before they are asked for. Only ever a hint.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { bootUnitsMax } from "../chunk-cache/limits.ts";
import { control } from "../chunk-cache/shared-state.ts";
import type { LocalCache } from "../chunk-cache/local-cache.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { bootKeptRatio, bootUnitsMin } from "./limits.ts";
import type { LiveFile } from "./live-file.ts";

const fileName = "boot.json";

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
  #known: number[] | null = null;

  constructor(options: BootListOptions) {
    this.#options = options;
    this.#key = `${options.prefix}/${fileName}`;
    this.#path = join(options.cacheDirectory, fileName);
  }

  /** Begins to fetch what the last boot read, if the cache is empty. Settles when all of it is here. */
  async start(local: LocalCache): Promise<void> {
    if (local.cache.state.control[control.foundFile] !== 0) {
      this.#known = decode(readFile(this.#path));
      return;
    }
    // Without it the guest waits for each unit, and nothing else.
    const bytes = await this.#options.store.get(this.#key).catch(() => null);
    this.#known = decode(bytes);
    if (bytes === null || this.#known === null) return;
    this.#note(bytes);
    await this.#options.live.prefetch(this.#known);
  }

  /** Stores what this boot has read, if that is much else. */
  async save(signal: AbortSignal): Promise<void> {
    const units = [...this.#options.live.recordedBoot()];
    if (!isWorthStoring(units, this.#known)) return;
    const bytes = Buffer.from(`${JSON.stringify({ formatVersion: 1, units })}\n`);
    try {
      await this.#options.store.put(this.#key, bytes, { signal });
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

/** Null when there is none that can be understood. */
function decode(bytes: Uint8Array | null): number[] | null {
  if (bytes === null) return null;
  try {
    const found = JSON.parse(Buffer.from(bytes).toString()) as {
      formatVersion?: unknown;
      units?: unknown;
    };
    if (found.formatVersion !== 1 || !Array.isArray(found.units)) return null;
    const units = found.units.filter(
      (unit): unit is number => Number.isSafeInteger(unit) && unit >= 0,
    );
    return units.slice(0, bootUnitsMax);
  } catch {
    return null;
  }
}

function readFile(path: string): Uint8Array | null {
  try {
    return readFileSync(path);
  } catch {
    return null;
  }
}
