/**
 * Replicates every database of a directory, as they come and go. A database that does not change costs
 * one `stat` a second and no request; one whose bucket fails is tried again ever later.
 */
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import type { LeaseClock } from "../lease/clock.ts";
import { isFenced } from "../lease/fenced-error.ts";
import { SpriteError } from "../../contract/errors.ts";
import { DatabaseFile } from "./database-pages.ts";
import type { MaintenancePolicy } from "./database-replica.ts";
import {
  databasesAtOnceMax,
  maintenancePauseMsMax,
  maintenancePauseMsMin,
  retryDelayMsMax,
  retryDelayMsMin,
  syncIntervalMs,
} from "./limits.ts";
import type { OwnerOptions } from "./replica-owner.ts";
import { ReplicatedDatabase } from "./replicated-database.ts";

export interface ReplicatorOptions extends Omit<OwnerOptions, "prefix" | "signal"> {
  directory: string;
  /** The databases' chains are at `<prefix>/<file name>`. */
  prefix: string;
  policy: MaintenancePolicy;
  clock: LeaseClock;
  /** 0 to 1. */
  random: () => number;
  /** A database is not replicated, with the reason, which was not so before; or it is again: null. */
  onProblem: (name: string, problem: Error | null) => void;
}

interface Entry {
  name: string;
  replica: ReplicatedDatabase | null;
  /** Open as long as the file is there: see `DatabaseFile`. */
  file: DatabaseFile;
  inode: number;
  problem: Error | null;
  failures: number;
  /** Monotonic. */
  notBeforeMs: number;
  /** Monotonic. */
  maintainAtMs: number;
  maintenancePauseMs: number;
  /** Another writer has the chain: no attempt can help. */
  isLost: boolean;
}

export class Replicator {
  readonly #options: ReplicatorOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #abort = new AbortController();
  #ended: Promise<void> = Promise.resolve();

  constructor(options: ReplicatorOptions) {
    this.#options = options;
  }

  /**
   * Opens the databases that are there, so that whoever starts knows that they are its own.
   * @throws SpriteError conflict and what the store throws
   */
  async prepare(signal?: AbortSignal): Promise<void> {
    this.#findDatabases();
    for (const entry of this.#entries.values()) {
      signal?.throwIfAborted();
      entry.replica = await this.#open(entry, signal);
    }
  }

  /** Replicates until `stop` or `drain`. */
  run(): void {
    this.#ended = this.#run();
  }

  /** One round over all databases: what `run` does every second. Failures go to `onProblem`. */
  async round(signal: AbortSignal = this.#abort.signal): Promise<void> {
    this.#findDatabases();
    const queue = [...this.#entries.values()];
    const work = async (): Promise<void> => {
      for (let entry = queue.shift(); entry !== undefined; entry = queue.shift()) {
        if (signal.aborted) return;
        if (!entry.isLost && this.#nowMs() >= entry.notBeforeMs) await this.#attend(entry, signal);
      }
    };
    await Promise.all(Array.from({ length: databasesAtOnceMax }, work));
  }

  /** Ships what was committed last, and ends. Whoever writes the databases has stopped before. */
  async drain(signal: AbortSignal): Promise<void> {
    await this.#end();
    this.#findDatabases();
    for (const entry of this.#entries.values()) {
      if (entry.isLost || signal.aborted) continue;
      await this.#try(entry, async () => {
        entry.replica ??= await this.#open(entry, signal);
        await entry.replica.sync(signal);
        // A log that is folded and known as such needs no image at the next start.
        await entry.replica.fold();
      });
    }
    this.#closeAll();
  }

  /** Ends at once. */
  async stop(): Promise<void> {
    await this.#end();
    this.#closeAll();
  }

  async #run(): Promise<void> {
    const { clock } = this.#options;
    const { signal } = this.#abort;
    while (!signal.aborted) {
      await this.round();
      await clock.wait(syncIntervalMs, signal).catch(() => undefined);
    }
  }

  async #attend(entry: Entry, signal: AbortSignal): Promise<void> {
    await this.#try(entry, async () => {
      entry.replica ??= await this.#open(entry, signal);
      const { replica } = entry;
      if (replica.hasChanged()) {
        await replica.sync(signal);
        entry.maintenancePauseMs = maintenancePauseMsMin;
      }
      if (this.#nowMs() < entry.maintainAtMs) return;
      // The longer nothing was due, the seldomer that is found out anew.
      const wasDue = await replica.maintain(signal);
      const pauseMs = wasDue ? maintenancePauseMsMin : 2 * entry.maintenancePauseMs;
      entry.maintenancePauseMs = Math.min(pauseMs, maintenancePauseMsMax);
      entry.maintainAtMs = this.#nowMs() + entry.maintenancePauseMs;
    });
  }

  async #open(entry: Entry, signal: AbortSignal | undefined): Promise<ReplicatedDatabase> {
    const { directory, prefix, clock } = this.#options;
    return await ReplicatedDatabase.open(
      {
        ...this.#options,
        path: join(directory, entry.name),
        file: entry.file,
        prefix: `${prefix}/${entry.name}`,
        nowMs: () => clock.nowMs(),
      },
      signal,
    );
  }

  async #try(entry: Entry, work: () => Promise<void>): Promise<void> {
    try {
      await work();
      entry.failures = 0;
      this.#tell(entry, null);
    } catch (error) {
      if (this.#abort.signal.aborted && error === this.#abort.signal.reason) return;
      this.#fail(entry, error instanceof Error ? error : new Error(String(error)));
    }
  }

  #fail(entry: Entry, error: Error): void {
    entry.isLost = isFenced(error) || (error instanceof SpriteError && error.code === "conflict");
    if (entry.isLost) {
      entry.replica?.close();
      entry.replica = null;
    }
    const delayMs = Math.min(retryDelayMsMin * 2 ** entry.failures, retryDelayMsMax);
    entry.failures += 1;
    entry.notBeforeMs = this.#nowMs() + delayMs * (0.5 + this.#options.random() / 2);
    this.#tell(entry, error);
  }

  #tell(entry: Entry, problem: Error | null): void {
    const isNew = (problem === null) !== (entry.problem === null);
    entry.problem = problem;
    if (isNew) this.#options.onProblem(entry.name, problem);
  }

  #findDatabases(): void {
    const { directory } = this.#options;
    const names = existsSync(directory) ? readdirSync(directory) : [];
    const found = new Set(names.filter((name) => name.endsWith(".db")));
    for (const [name, entry] of this.#entries) {
      const stat = statSync(join(directory, name), { throwIfNoEntry: false });
      if (found.has(name) && stat?.ino === entry.inode) continue;
      this.#entries.delete(name);
      entry.replica?.close();
      entry.file.close();
    }
    for (const name of found) if (!this.#entries.has(name)) this.#add(name);
  }

  #add(name: string): void {
    const path = join(this.#options.directory, name);
    const stat = statSync(path, { throwIfNoEntry: false });
    // An empty file is on its way to be a database.
    if (stat === undefined || stat.size === 0) return;
    this.#entries.set(name, {
      ...{ name, replica: null, file: new DatabaseFile(path), inode: stat.ino, problem: null },
      ...{ failures: 0, notBeforeMs: 0, isLost: false },
      ...{ maintainAtMs: 0, maintenancePauseMs: maintenancePauseMsMin },
    });
  }

  async #end(): Promise<void> {
    this.#abort.abort();
    await this.#ended;
  }

  #closeAll(): void {
    for (const { replica, file } of this.#entries.values()) {
      replica?.close();
      file.close();
    }
    this.#entries.clear();
  }

  #nowMs(): number {
    return this.#options.clock.monotonicMs();
  }
}
