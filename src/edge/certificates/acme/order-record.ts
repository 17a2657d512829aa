/**
 * What was asked of the service lately, kept over restarts: a server that crashes in a loop must not
 * use up what the service allows.
 */
import { join } from "node:path";

import { readSecretFile, writeSecretFile } from "../files.ts";
import {
  failedNamesMax,
  ordersMax,
  ordersWindowMs,
  retryDelayMs,
  retryDelayMsMax,
} from "../limits.ts";

interface Failure {
  count: number;
  nextTryAtMs: number;
}

interface Kept {
  /** When certificates for new names were ordered, oldest first. */
  ordersMs: number[];
  failures: Record<string, Failure>;
}

export interface OrderRecordOptions {
  directory: string;
  now: () => number;
  /** From 0 to 1. */
  random: () => number;
}

export class OrderRecord {
  readonly #options: OrderRecordOptions;
  readonly #path: string;
  #kept: Kept;

  private constructor(options: OrderRecordOptions, kept: Kept) {
    this.#options = options;
    this.#path = join(options.directory, "orders.json");
    this.#kept = kept;
  }

  static async open(options: OrderRecordOptions): Promise<OrderRecord> {
    const text = await readSecretFile(join(options.directory, "orders.json"));
    return new OrderRecord(options, parse(text));
  }

  /** When the names may be tried again: a time in the past is now. */
  nextTryAtMs(key: string, isNew: boolean): number {
    const { failures, ordersMs } = this.#kept;
    const afterFailure = failures[key]?.nextTryAtMs ?? 0;
    const oldestThatCounts = ordersMs.at(-ordersMax);
    const isFull = isNew && oldestThatCounts !== undefined;
    return Math.max(afterFailure, isFull ? oldestThatCounts + ordersWindowMs : 0);
  }

  /** Counts as a failure until `noteSuccess`, so that a crash in between counts as one. */
  async noteOrder(key: string, isNew: boolean): Promise<void> {
    const nowMs = this.#options.now();
    const { failures, ordersMs } = this.#kept;
    const count = (failures[key]?.count ?? 0) + 1;
    const delayMs = Math.min(retryDelayMs * 2 ** (count - 1), retryDelayMsMax);
    const jitterMs = (delayMs / 4) * this.#options.random();
    const others = Object.entries(failures).filter(([name]) => name !== key);
    const recent = others.slice(-failedNamesMax + 1);
    this.#kept = {
      ordersMs: [...ordersMs, ...(isNew ? [nowMs] : [])].slice(-ordersMax),
      failures: Object.fromEntries([
        ...recent,
        [key, { count, nextTryAtMs: nowMs + delayMs + jitterMs }],
      ]),
    };
    await this.#save();
  }

  async noteSuccess(key: string): Promise<void> {
    delete this.#kept.failures[key];
    await this.#save();
  }

  async #save(): Promise<void> {
    await writeSecretFile(this.#path, `${JSON.stringify(this.#kept)}\n`);
  }
}

/** A record that cannot be read is begun anew: it only spares the service. */
function parse(text: string | null): Kept {
  const none: Kept = { ordersMs: [], failures: {} };
  try {
    const kept = JSON.parse(text ?? "") as Partial<Kept> | null;
    const ordersMs = (kept?.ordersMs ?? []).filter((timeMs) => typeof timeMs === "number");
    const failures = Object.entries(kept?.failures ?? {}).filter(
      ([, { count, nextTryAtMs }]) => typeof count === "number" && typeof nextTryAtMs === "number",
    );
    return { ordersMs, failures: Object.fromEntries(failures) };
  } catch {
    return none;
  }
}
