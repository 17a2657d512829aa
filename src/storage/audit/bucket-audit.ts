/** The leak check: every volume of a bucket, one after the other. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { listVolumePrefixes } from "./bucket-listing.ts";
import { Collector, type Collected, type CollectOptions } from "./collect.ts";
import { disposalOf, type Disposal, type Registered } from "./disposal.ts";
import { noCounts, objectClasses, type ObjectCounts } from "./objects.ts";
import { auditVolume, type VolumeReport } from "./volume-audit.ts";

export interface BucketAuditOptions extends Omit<CollectOptions, "mapPath"> {
  /** Nothing is deleted. */
  isDryRun: boolean;
  /** Only this volume. */
  prefix: string | null;
  registered: Registered | null;
  /** Sprites' disks that no registry names go too. */
  withVolumes: boolean;
  /** So do images that no sprite has; the caller knows that no server is about to use one. */
  withImages: boolean;
  onVolume: (volume: AuditedVolume) => void;
}

export interface AuditedVolume extends VolumeReport {
  disposal: Disposal;
  /** What was deleted of it; null in a dry run. */
  deleted: Collected | null;
}

export interface BucketSummary {
  volumes: number;
  counts: ObjectCounts;
  /** Volumes that nobody needs, and what they hold. */
  disposable: Collected;
  deleted: Collected;
  problems: number;
  isBudgetSpent: boolean;
}

/** @throws SpriteError storage_failure: the bucket does not answer */
export async function auditBucket(options: BucketAuditOptions): Promise<BucketSummary> {
  const scratch = await mkdtemp(join(tmpdir(), "opensprites-audit-"));
  try {
    return await auditAll({ ...options, mapPath: join(scratch, "map.db") });
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function auditAll(options: BucketAuditOptions & CollectOptions): Promise<BucketSummary> {
  const { store, signal, registered, nowMs, onVolume } = options;
  const collector = new Collector(options);
  const summary: BucketSummary = {
    volumes: 0,
    counts: noCounts(),
    disposable: { count: 0, sizeBytes: 0 },
    deleted: { count: 0, sizeBytes: 0 },
    problems: 0,
    isBudgetSpent: false,
  };
  const prefixes =
    options.prefix === null ? listVolumePrefixes(store, { signal }) : [options.prefix];
  for await (const prefix of prefixes) {
    signal?.throwIfAborted();
    const report = await auditVolume({ ...options, prefix });
    const disposal = disposalOf(report, registered, nowMs);
    const deleted = options.isDryRun ? null : await clear(report, disposal, { options, collector });
    addTo(summary, { ...report, disposal, deleted });
    onVolume({ ...report, disposal, deleted });
  }
  summary.isBudgetSpent = collector.isBudgetSpent;
  return summary;
}

async function clear(
  report: VolumeReport,
  disposal: Disposal,
  parts: { options: BucketAuditOptions; collector: Collector },
): Promise<Collected> {
  const { collector } = parts;
  const { withVolumes, withImages } = parts.options;
  const isUnwanted =
    (disposal === "unregistered" && withVolumes) || (disposal === "unused" && withImages);
  if (isUnwanted) {
    const disposed = await collector.dispose(report, disposal);
    if (disposed !== "in-use") return disposed;
  }
  return await collector.collect(report);
}

function addTo(summary: BucketSummary, volume: AuditedVolume): void {
  summary.volumes++;
  summary.problems += volume.problems.length;
  const isDisposable = volume.disposal === "unregistered" || volume.disposal === "unused";
  for (const name of objectClasses) {
    const { count, sizeBytes } = volume.counts[name];
    summary.counts[name].count += count;
    summary.counts[name].sizeBytes += sizeBytes;
    if (isDisposable) add(summary.disposable, { count, sizeBytes });
  }
  if (volume.deleted !== null) add(summary.deleted, volume.deleted);
}

function add(sum: Collected, more: Collected): void {
  sum.count += more.count;
  sum.sizeBytes += more.sizeBytes;
}
