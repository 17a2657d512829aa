/** Compares what lies below one volume's prefix with what the volume, and its forks, need of it. */
import { rm } from "node:fs/promises";
import { SpriteError } from "../../contract/errors.ts";
import type { BlockMap } from "../block-map/block-map.ts";
import { sidecarPaths } from "../database.ts";
import { headKey } from "../lease/head.ts";
import type { ListedObject } from "../object-store/object-store.ts";
import { pinnedByForks, tombstoneKey } from "../volume/fork-markers.ts";
import { listObjects } from "./bucket-listing.ts";
import { auditForeign, type Absent, type Surplus } from "./foreign-audit.ts";
import { keysNamedMax } from "./limits.ts";
import {
  addObject,
  classify,
  noCounts,
  type ObjectClass,
  type ObjectCounts,
  type ObjectFacts,
} from "./objects.ts";
import {
  holderOf,
  legacyMapOf,
  readVolume,
  type VolumePlace,
  type VolumeState,
} from "./volume-state.ts";

/**
 * - `held`, `released`: a volume that is complete, with an agent that holds it, or without.
 * - `unfinished`: it has no head: a fork or an import that goes on, or died.
 * - `destroyed`: it has a tombstone.
 * - `unreadable`: its head or its map is damaged or missing; nothing of it is ever deleted.
 */
export type VolumeCondition = "held" | "released" | "unfinished" | "destroyed" | "unreadable";

export interface VolumeReport {
  prefix: string;
  condition: VolumeCondition;
  /** The server that holds it. */
  server: string | null;
  txid: number;
  counts: ObjectCounts;
  /** Those that are leaked. */
  leaked: ListedObject[];
  /** When the youngest object came, by the bucket's clock. */
  youngestAtMs: number;
  /** What markers of this volume, a fork, keep at others without need, by the others' prefixes. */
  surplus: Surplus[];
  /** What is wrong, a sentence each, with the key: objects that are missing first of all. */
  problems: string[];
}

export interface VolumeAuditOptions extends VolumePlace {
  graceMs: number;
  nowMs: number;
  /** A local file for the copy of the map; it is removed. */
  mapPath: string;
}

/** @throws SpriteError storage_failure: the bucket does not answer */
export async function auditVolume(options: VolumeAuditOptions): Promise<VolumeReport> {
  const { mapPath } = options;
  try {
    return await new VolumeAudit(options).run();
  } finally {
    for (const path of [mapPath, ...sidecarPaths(mapPath)]) await rm(path, { force: true });
  }
}

class VolumeAudit {
  readonly #options: VolumeAuditOptions;
  readonly #problems: string[] = [];

  constructor(options: VolumeAuditOptions) {
    this.#options = options;
  }

  async run(): Promise<VolumeReport> {
    const { store, prefix, signal, mapPath, graceMs, nowMs } = this.#options;
    // Listed before the map is read: what is uploaded meanwhile is in the map by then, or not in the list.
    const objects = await listObjects(store, `${prefix}/`, signal);
    if (objects.has(tombstoneKey(prefix))) return await this.#destroyed(objects);
    if (!objects.has(headKey(prefix))) return this.#simple("unfinished", objects, "pending");
    let state: VolumeState | null;
    try {
      state = await readVolume(this.#options, mapPath);
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof SpriteError)) throw error;
      this.#problems.push(`${prefix}: ${error.message}`);
      return this.#simple("unreadable", objects, "live");
    }
    // Destroyed since it was listed.
    if (state === null) return this.#simple("unfinished", objects, "pending");
    const { map } = state;
    let report: VolumeReport;
    const absent: Absent[] = [];
    try {
      report = await this.#complete(objects, state);
      if (map !== null) {
        const foreign = await auditForeign(this.#options, map);
        absent.push(...this.#checkOwn(map, objects), ...foreign.absent);
        this.#problems.push(...foreign.problems);
        // States of the past need what they need for the grace.
        if (state.txidAtMs <= nowMs - graceMs) report.surplus = foreign.surplus;
      }
    } finally {
      map?.close();
    }
    await this.#reportMissing(absent);
    return report;
  }

  async #complete(
    objects: ReadonlyMap<string, ListedObject>,
    state: VolumeState,
  ): Promise<VolumeReport> {
    const { prefix, graceMs, nowMs } = this.#options;
    const { head, map, txid, txidAtMs } = state;
    const holder = holderOf(head);
    const segments = new Map((map?.segments() ?? []).map((segment) => [segment.key, segment]));
    const facts: ObjectFacts = {
      ...{ prefix, segments, graceMs, nowMs, txidAtMs },
      pinned: await this.#pinned(prefix),
      // The holder of the old format is not known.
      isReleased: head.formatVersion === 2 && holder === null,
      legacyMapKey: legacyMapOf(head)?.key ?? null,
      isLegacyMapLeftover: head.formatVersion === 2,
    };
    const condition = holder === null ? "released" : "held";
    const report = this.#report(condition, objects, (object) => classify(object, facts));
    return { ...report, server: holder?.server ?? null, txid };
  }

  /** Whatever the map names has to be there, as long as the map says. */
  #checkOwn(map: BlockMap, objects: ReadonlyMap<string, ListedObject>): Absent[] {
    const { prefix } = this.#options;
    const absent: Absent[] = [];
    for (const { id, key, sizeBytes, isGarbage } of map.segments()) {
      if (isGarbage) continue;
      const whole = `${prefix}/${key}`;
      const object = objects.get(whole);
      if (object === undefined) absent.push({ id, key: whole });
      else if (object.sizeBytes !== sizeBytes) {
        const sizes = `${object.sizeBytes} bytes instead of ${sizeBytes}`;
        this.#problems.push(`${whole} has ${sizes}`);
      }
    }
    return absent;
  }

  /**
   * Of a volume that is being written, what was not in the list may have come since, and what is not there any more
   * may be named no more. So each is looked for, and then the map is read once more.
   */
  async #reportMissing(absent: readonly Absent[]): Promise<void> {
    const { store, signal, prefix } = this.#options;
    const missing: Absent[] = [];
    for (const object of absent) {
      if ((await store.getRange(object.key, 0, 1, { signal })) === null) missing.push(object);
    }
    if (missing.length === 0) return;
    const named = await this.#namedNow();
    const confirmed = missing.filter(({ id }) => named.has(id));
    for (const { key } of confirmed.slice(0, keysNamedMax))
      this.#problems.push(`${key} is missing`);
    const more = confirmed.length - keysNamedMax;
    if (more > 0) this.#problems.push(`${prefix}: ${more} more are missing`);
  }

  async #namedNow(): Promise<Set<number>> {
    const state = await readVolume(this.#options, this.#options.mapPath);
    const map = state?.map;
    if (!map) return new Set();
    const own = map.segments().filter(({ isGarbage }) => !isGarbage);
    const ids = [...own.map(({ id }) => id), ...map.foreignSegments().flatMap((all) => all.ids)];
    map.close();
    return new Set(ids);
  }

  async #pinned(prefix: string): ReturnType<typeof pinnedByForks> {
    const { store, signal } = this.#options;
    return await pinnedByForks({ store, prefix, ...(signal && { signal }) });
  }

  async #destroyed(objects: ReadonlyMap<string, ListedObject>): Promise<VolumeReport> {
    const { prefix } = this.#options;
    const pinned = await this.#pinned(prefix);
    return this.#report("destroyed", objects, ({ key }) => {
      if (key === tombstoneKey(prefix) || key.startsWith(`${prefix}/forks/`)) return "metadata";
      return pinned.has(key.slice(prefix.length + 1)) ? "forks" : "leaked";
    });
  }

  #simple(
    condition: VolumeCondition,
    objects: ReadonlyMap<string, ListedObject>,
    as: ObjectClass,
  ): VolumeReport {
    return this.#report(condition, objects, () => as);
  }

  #report(
    condition: VolumeCondition,
    objects: ReadonlyMap<string, ListedObject>,
    classOf: (object: ListedObject) => ObjectClass,
  ): VolumeReport {
    const counts = noCounts();
    const leaked: ListedObject[] = [];
    let youngestAtMs = 0;
    for (const object of objects.values()) {
      const name = classOf(object);
      addObject(counts, name, object.sizeBytes);
      if (name === "leaked") leaked.push(object);
      youngestAtMs = Math.max(youngestAtMs, object.modifiedAtMs);
    }
    const { prefix } = this.#options;
    const problems = this.#problems;
    return {
      ...{ prefix, condition, server: null, txid: 0, counts, leaked, youngestAtMs },
      ...{ surplus: [], problems },
    };
  }
}
