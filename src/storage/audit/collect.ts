/** Deletes what an audit found nobody to need, asking once more right before. */
import { systemClock, type LeaseClock } from "../lease/clock.ts";
import { isServerAlive } from "../lease/server-record.ts";
import type { ListedObject } from "../object-store/object-store.ts";
import { destroyVolume, finishDestroyed } from "../volume/destroy.ts";
import { hasTombstone, pinnedByForks, shrinkMarker } from "../volume/fork-markers.ts";
import type { Disposal } from "./disposal.ts";
import { deletedAtOnceMax } from "./limits.ts";
import { auditVolume, type VolumeAuditOptions, type VolumeReport } from "./volume-audit.ts";

export interface CollectOptions extends Omit<VolumeAuditOptions, "prefix"> {
  /** Bytes that are deleted at most, in all calls. */
  bytesMax: number;
  clock?: LeaseClock;
}

export interface Collected {
  count: number;
  sizeBytes: number;
}

/** One run of collection. */
export class Collector {
  readonly #options: CollectOptions;
  readonly #alive = new Map<string, Promise<boolean>>();
  #bytesLeft: number;
  /** Something was left because it was too much for one run. */
  isBudgetSpent = false;

  constructor(options: CollectOptions) {
    this.#options = options;
    this.#bytesLeft = options.bytesMax;
  }

  /**
   * Deletes the leaked objects of a volume, or what is left of one that was destroyed. The volume is looked at
   * once more before, since an audit of a large bucket takes a while: only what is leaked both times goes.
   * @throws SpriteError storage_failure
   */
  async collect(report: VolumeReport): Promise<Collected> {
    if (report.condition === "destroyed") return await this.#finishDestroyed(report);
    await this.#shrinkMarkers(report);
    const none = { count: 0, sizeBytes: 0 };
    if (report.leaked.length === 0 || this.#bytesLeft <= 0) {
      this.isBudgetSpent ||= report.leaked.length > 0;
      return none;
    }
    const { prefix } = report;
    const again = await auditVolume({ ...this.#options, prefix });
    const leakedStill = new Set(again.leaked.map(({ key }) => key));
    const pinned = await this.#pinned(prefix);
    const isDoomed = ({ key }: ListedObject): boolean =>
      leakedStill.has(key) && !pinned.has(key.slice(prefix.length + 1));
    return await this.#delete(report.leaked.filter(isDoomed));
  }

  /**
   * Destroys a volume that nobody needs; what its forks read stays.
   * @throws SpriteError storage_failure
   */
  async dispose(report: VolumeReport, disposal: Disposal): Promise<Collected | "in-use"> {
    const { store } = this.#options;
    const { prefix } = report;
    const sizeBytes = sumOf(report);
    if (disposal !== "unregistered" && disposal !== "unused") return "in-use";
    if (report.server !== null && (await this.isAlive(report.server))) return "in-use";
    if (sizeBytes > this.#bytesLeft) {
      this.isBudgetSpent = true;
      return { count: 0, sizeBytes: 0 };
    }
    this.#bytesLeft -= sizeBytes;
    await destroyVolume({ store, prefix });
    const count = Object.values(report.counts).reduce((sum, each) => sum + each.count, 0);
    return { count, sizeBytes };
  }

  /** Finding out that a server is dead takes half a minute: each is asked for once. */
  isAlive(server: string): Promise<boolean> {
    const { store, signal, clock = systemClock } = this.#options;
    let answer = this.#alive.get(server);
    answer ??= isServerAlive({ store, server, clock, signal });
    this.#alive.set(server, answer);
    return answer;
  }

  /** What is let go of is its owner's garbage from then on. */
  async #shrinkMarkers({ prefix, surplus }: VolumeReport): Promise<void> {
    const { store, signal } = this.#options;
    if (surplus.length === 0) return;
    // A fork of this fork is being made, by a map that may be older, and has no markers of its own there yet.
    if ((await this.#pinned(prefix)).size === Infinity) return;
    for (const { owner, forkId, needed } of surplus) {
      await shrinkMarker(store, { owner, forkId, needed, signal });
      if (await hasTombstone(store, owner)) await finishDestroyed({ store, prefix: owner });
    }
  }

  async #pinned(prefix: string): ReturnType<typeof pinnedByForks> {
    const { store, signal } = this.#options;
    return await pinnedByForks({ store, prefix, ...(signal && { signal }) });
  }

  async #finishDestroyed(report: VolumeReport): Promise<Collected> {
    const { store } = this.#options;
    const { prefix, counts } = report;
    const { sizeBytes, count } = counts.leaked;
    if (sizeBytes > this.#bytesLeft) {
      this.isBudgetSpent = true;
      return { count: 0, sizeBytes: 0 };
    }
    this.#bytesLeft -= sizeBytes;
    await finishDestroyed({ store, prefix });
    return { count, sizeBytes };
  }

  async #delete(objects: readonly ListedObject[]): Promise<Collected> {
    const { store, signal } = this.#options;
    const chosen: ListedObject[] = [];
    let sizeBytes = 0;
    for (const object of objects) {
      if (sizeBytes + object.sizeBytes > this.#bytesLeft) {
        this.isBudgetSpent = true;
        break;
      }
      sizeBytes += object.sizeBytes;
      chosen.push(object);
    }
    this.#bytesLeft -= sizeBytes;
    for (let start = 0; start < chosen.length; start += deletedAtOnceMax) {
      const batch = chosen.slice(start, start + deletedAtOnceMax);
      await store.deleteMany(
        batch.map(({ key }) => key),
        { signal },
      );
    }
    return { count: chosen.length, sizeBytes };
  }
}

function sumOf({ counts }: VolumeReport): number {
  return Object.values(counts).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}
