import type { Log } from "../../base/log.ts";
import type { GuestNetwork } from "../../sandbox/guest-network.ts";
import { busyMs, lookIntervalMs, quietLookIntervalMs, soonLookMs } from "./limits.ts";
import { PortTable, type PortChanges, type WatchedPort } from "./port-table.ts";

type Network = Pick<GuestNetwork, "listeningSockets" | "socketOwners">;

export interface PortWatchParts {
  /** Null while no container runs: then nothing listens. */
  network: () => Network | null;
  log: Log;
}

export interface Watcher {
  onChanges(changes: PortChanges): void;
}

/**
 * Looks at what listens inside, while somebody wants to know: the kernel tells nobody of a new
 * listening socket by itself. Looks are frequent after changes and after hints, and rare otherwise.
 */
export class PortWatch {
  readonly #parts: PortWatchParts;
  readonly #watchers = new Set<Watcher>();
  #table = new PortTable();
  #timer: NodeJS.Timeout | null = null;
  #lastLookMs = -Infinity;
  #lastChangeMs = -Infinity;
  #hasFailed = false;

  constructor(parts: PortWatchParts) {
    this.#parts = parts;
  }

  get isRunning(): boolean {
    return this.#watchers.size > 0;
  }

  /** What is known to listen; as old as the last look. */
  ports(): WatchedPort[] {
    return this.#table.ports();
  }

  /** What listens now. */
  portsNow(): WatchedPort[] {
    this.#look();
    return this.#table.ports();
  }

  /** The first look is yet to come: whoever wants one asks. Returns what ends the watch. */
  watch(watcher: Watcher): () => void {
    const wasRunning = this.isRunning;
    this.#watchers.add(watcher);
    if (!wasRunning) this.#lastChangeMs = performance.now();
    this.#arrange();
    return () => {
      this.#watchers.delete(watcher);
      if (this.isRunning) return;
      if (this.#timer !== null) clearTimeout(this.#timer);
      this.#timer = null;
      // What happens from here on is not seen; who watches next begins anew.
      this.#table = new PortTable();
    };
  }

  /** Something happened that often goes with a change: a command has spoken. */
  hint(): void {
    if (!this.isRunning) return;
    const isQuiet = performance.now() - this.#lastChangeMs > busyMs;
    this.#lastChangeMs = performance.now();
    if (isQuiet) this.#arrange();
  }

  /** Nothing listens any more: the container is going away. */
  clear(): void {
    this.#tell(this.#table.update([], () => new Map()));
  }

  #arrange(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    const nowMs = performance.now();
    const isBusy = nowMs - this.#lastChangeMs < busyMs;
    const intervalMs = isBusy ? lookIntervalMs : quietLookIntervalMs;
    const delayMs = Math.max(soonLookMs, this.#lastLookMs + intervalMs - nowMs);
    this.#timer = setTimeout(() => {
      this.#look();
      if (this.isRunning) this.#arrange();
    }, delayMs).unref();
  }

  #look(): void {
    this.#lastLookMs = performance.now();
    const network = this.#parts.network();
    try {
      const listening = network?.listeningSockets() ?? [];
      const findOwners = (inodes: ReadonlySet<number>) =>
        network?.socketOwners(inodes) ?? new Map<number, never>();
      this.#tell(this.#table.update(listening, findOwners));
      this.#hasFailed = false;
    } catch (error) {
      // The container may have ended just now; the next look says so.
      if (!this.#hasFailed) this.#parts.log.warn({ err: error }, "cannot see which ports are open");
      this.#hasFailed = true;
    }
  }

  #tell(changes: PortChanges): void {
    if (changes.opened.length === 0 && changes.closed.length === 0) return;
    this.#lastChangeMs = performance.now();
    for (const watcher of [...this.#watchers]) watcher.onChanges(changes);
  }
}
