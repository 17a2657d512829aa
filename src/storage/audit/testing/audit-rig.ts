/** Real volumes in a bucket, a clock that jumps, and audits of all of it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { unitSizeBytes } from "../../block-map/geometry.ts";
import { systemClock } from "../../lease/clock.ts";
import type { ObjectStore } from "../../object-store/object-store.ts";
import { MemoryObjectStore } from "../../object-store/testing/memory-object-store.ts";
import { VolumeEngine } from "../../volume/engine.ts";
import { forkVolume } from "../../volume/fork.ts";
import {
  auditBucket,
  type AuditedVolume,
  type BucketAuditOptions,
  type BucketSummary,
} from "../bucket-audit.ts";

export const graceMs = 15 * 60_000;
export const dayMs = 24 * 60 * 60_000;

export class AuditRig {
  readonly directory = mkdtempSync(join(tmpdir(), "opensprites-audit-rig-"));
  /** How far the clock is ahead, for the bucket, the volumes and the audits alike. */
  skewMs = 0;
  readonly store: ObjectStore;
  readonly #opened = new Set<VolumeEngine>();

  constructor(store?: ObjectStore) {
    this.store = store ?? new MemoryObjectStore({ now: () => this.nowMs });
  }

  get nowMs(): number {
    return Math.round(Date.now() + this.skewMs);
  }

  async open(
    name: string,
    options: { store?: ObjectStore; closeTimeoutMs?: number; retentionMs?: number } = {},
  ): Promise<VolumeEngine> {
    const engine = await VolumeEngine.open({
      store: this.store,
      prefix: `sprites/${name}`,
      cacheDirectory: join(this.directory, "cache", name),
      cacheSizeBytesMax: 2 ** 30,
      sizeBytes: 64 * unitSizeBytes,
      readOnly: false,
      server: "server",
      syncIntervalMs: 5,
      onProblem: () => undefined,
      retryMsMin: 5,
      // Nothing in these tests is collected by the volumes themselves.
      retentionMs: 10 ** 12,
      clock: { ...systemClock, nowMs: () => this.nowMs },
      ...options,
    });
    this.#opened.add(engine);
    const close = engine.close.bind(engine);
    engine.close = (how) => {
      this.#opened.delete(engine);
      return close(how);
    };
    return engine;
  }

  fork(from: string, to: string): Promise<void> {
    return forkVolume({
      store: this.store,
      from: `sprites/${from}`,
      to: `sprites/${to}`,
      forkId: to,
      checkpoint: null,
      scratchDirectory: join(this.directory, "scratch"),
    });
  }

  /** What a machine that never saw the volume reads of its first units. */
  async readCold(name: string, units: number): Promise<number[]> {
    rmSync(join(this.directory, "cache", name), { recursive: true, force: true });
    const engine = await this.open(name);
    const bytes = await engine.live.read(0, units * unitSizeBytes);
    await engine.close({ discard: false });
    return Array.from({ length: units }, (_, unit) => bytes[unit * unitSizeBytes] ?? -1);
  }

  async keys(prefix: string): Promise<string[]> {
    const found: string[] = [];
    for await (const { key } of this.store.list(prefix)) found.push(key);
    return found;
  }

  async audit(
    options: Partial<BucketAuditOptions> = {},
  ): Promise<{ summary: BucketSummary; volumes: Map<string, AuditedVolume> }> {
    const volumes = new Map<string, AuditedVolume>();
    const summary = await auditBucket({
      ...{ store: this.store, graceMs, nowMs: this.nowMs, bytesMax: 2 ** 40 },
      ...{ isDryRun: true, prefix: null, registered: null },
      ...{ withVolumes: false, withImages: false },
      onVolume: (volume) => volumes.set(volume.prefix, volume),
      ...options,
    });
    return { summary, volumes };
  }

  async dispose(): Promise<void> {
    // Of a test that failed some go on, and would keep the process.
    for (const engine of this.#opened) await engine.close({ discard: true }).catch(() => undefined);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** One unit full of one value, and in the bucket. */
export async function writeUnit(engine: VolumeEngine, unit: number, value: number): Promise<void> {
  await engine.live.write(unit * unitSizeBytes, Buffer.alloc(unitSizeBytes, value));
  await engine.sync();
}

/** A segment that nothing names. */
export const strayName = "data/ff/000000ff-0123456789ab";
