/**
 * Counts what a sprite uses. The counters go on from one agent to the next, by a file on this machine: what is reported is always the sum,
 * so nothing is counted twice, and what a kill costs is what was used since the last look.
 */
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Log } from "../../base/log.ts";
import { noUsage, type UsageCounters, type UsageReport } from "../../contract/usage-report.ts";
import type { BucketUse, Volume, VolumeStatistics } from "../../storage/volume/volume.ts";
import { diskAnswerMsMax, usageIntervalMs, warmUsageIntervalMs } from "./limits.ts";
import { readUsageFile, writeUsageFile, type UsageMark } from "./usage-file.ts";

/** Counters of one container that only grow; null when they cannot be read now. */
export interface MeteredContainer {
  processorTimeMs(): number | null;
  /** What it holds now, without pages of files that the kernel can drop. */
  memoryBytes(): number | null;
  readonly network: { sentBytes(): number | null } | null;
}

export interface UsageMeterParts {
  path: string;
  /** An agent before this one died under its container, which runs on. */
  takesOver: boolean;
  /** It is nobody's: nothing is counted before `begin`. */
  isSpare: boolean;
  container: () => MeteredContainer | null;
  volume: Pick<Volume, "statistics" | "lastSeen">;
  say: (report: UsageReport) => void;
  log: Log;
  /** Of the machine since its boot, ms, whichever process asks; does not jump. */
  monotonicMs?: () => number;
  bootId?: string;
}

export class UsageMeter {
  readonly #parts: UsageMeterParts;
  readonly #monotonicMs: () => number;
  #meterId: string;
  #counters: UsageCounters;
  #mark: UsageMark;
  #storedBytes: number | null = null;
  #cachedBytes: number | null = null;
  #bucketSeen: BucketUse | null = null;
  #timer: NodeJS.Timeout | null = null;
  #reporting: Promise<void> | null = null;
  #isNobodys: boolean;
  #isOver = false;

  constructor(parts: UsageMeterParts) {
    this.#parts = parts;
    this.#isNobodys = parts.isSpare;
    this.#monotonicMs = parts.monotonicMs ?? (() => Number(process.hrtime.bigint()) / 1e6);
    const bootId = parts.bootId ?? machineBootId();
    const found = readUsageFile(parts.path);
    const { meterId, counters, storedBytes } = found?.report ?? newReport();
    this.#meterId = meterId;
    this.#counters = counters;
    this.#storedBytes = storedBytes;
    // The container ran on while there was no agent.
    const goesOn = parts.takesOver && found?.mark.bootId === bootId;
    this.#mark = goesOn ? found.mark : this.#newMark(bootId);
    if (!(this.#mark.monotonicMs <= this.#monotonicMs())) this.#mark = this.#newMark(bootId);
  }

  #newMark(bootId: string): UsageMark {
    const none = { processorMs: null, sentBytes: null, memoryBytes: 0 };
    return { bootId, monotonicMs: this.#monotonicMs(), isWarm: false, ...none };
  }

  /** The sprite is somebody's from now on: what was used before is not counted. */
  begin(): void {
    this.#isNobodys = false;
    this.#advance();
    this.#counters = noUsage();
    const seen = this.#parts.volume.statistics();
    seen.then(
      () => (this.#bucketSeen = this.#parts.volume.lastSeen?.use ?? null),
      () => undefined,
    );
    this.#schedule();
  }

  /** The sprite is awake, whatever it was while there was no agent. */
  start(): void {
    this.#advance();
    this.#mark.isWarm = false;
    this.#schedule();
  }

  /** A container runs. What starting it cost is not the sprite's. */
  onContainer({ isAdopted }: { isAdopted: boolean }): void {
    if (isAdopted && this.#mark.processorMs !== null) return;
    this.#advance();
    this.#readBaseline();
  }

  /** The container is about to end: its counters go with it. */
  beforeEnd(): void {
    this.#advance();
    this.#mark = { ...this.#mark, processorMs: null, sentBytes: null, memoryBytes: 0 };
  }

  /** Its processes were suspended, or go on. */
  onRest(status: "warm" | "running"): void {
    this.#advance();
    this.#mark.isWarm = status === "warm";
    if (this.#isNobodys) return;
    void this.#report();
    this.#schedule();
  }

  /** Settles when the last report is on its way: nothing of the sprite runs any more. */
  async end(): Promise<void> {
    this.#isOver = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (this.#isNobodys) return;
    await this.#reporting;
    this.#advance();
    this.#noteDisk();
    await this.#tell();
  }

  #schedule(): void {
    if (this.#isOver) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    const intervalMs = this.#mark.isWarm ? warmUsageIntervalMs : usageIntervalMs;
    this.#timer = setTimeout(() => {
      void this.#report();
      this.#schedule();
    }, intervalMs).unref();
  }

  async #report(): Promise<void> {
    if (this.#isOver) return;
    this.#reporting ??= this.#lookAndTell().finally(() => (this.#reporting = null));
    await this.#reporting;
  }

  async #lookAndTell(): Promise<void> {
    this.#advance();
    await this.#readDisk();
    await this.#tell();
  }

  async #readDisk(): Promise<void> {
    const { volume } = this.#parts;
    const statistics = volume.statistics().catch(() => null);
    const late = delay(diskAnswerMsMax, null, { ref: false });
    const found = await Promise.race([statistics, late]);
    if (found !== null) this.#noteDisk();
  }

  #noteDisk(): void {
    const { lastSeen } = this.#parts.volume;
    if (lastSeen === null) return;
    const { statistics, use }: { statistics: VolumeStatistics; use: BucketUse } = lastSeen;
    this.#storedBytes = statistics.bucketBytes;
    this.#cachedBytes = statistics.cachedBytes;
    this.#noteBucket(use);
  }

  async #tell(): Promise<void> {
    const { say, path, log } = this.#parts;
    const report: UsageReport = {
      meterId: this.#meterId,
      counters: { ...this.#counters },
      storedBytes: this.#storedBytes,
      cachedBytes: this.#cachedBytes,
      atMs: Date.now(),
    };
    say(report);
    try {
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      await writeUsageFile(path, { report, mark: this.#mark });
    } catch (error) {
      // The server has heard of it; only one that is killed now forgets it.
      log.warn({ err: error }, "the sprite's usage is not written down");
    }
  }

  /** Adds what was used since the last look. */
  #advance(): void {
    const nowMs = this.#monotonicMs();
    const elapsedMs = Math.max(0, nowMs - this.#mark.monotonicMs);
    const container = this.#parts.container();
    const memoryBytes = container?.memoryBytes() ?? 0;
    const byteSeconds = ((this.#mark.memoryBytes + memoryBytes) / 2) * (elapsedMs / 1_000);
    const counters = this.#counters;
    if (this.#mark.isWarm) {
      counters.warmMs += elapsedMs;
      counters.warmMemoryByteSeconds += byteSeconds;
    } else {
      counters.runningMs += elapsedMs;
      counters.memoryByteSeconds += byteSeconds;
    }
    const processorMs = container?.processorTimeMs() ?? null;
    const sentBytes = container?.network?.sentBytes() ?? null;
    counters.processorMs += grown(this.#mark.processorMs, processorMs);
    counters.sentBytes += grown(this.#mark.sentBytes, sentBytes);
    this.#mark = {
      ...this.#mark,
      ...{ monotonicMs: nowMs, memoryBytes },
      processorMs: this.#mark.processorMs === null ? null : (processorMs ?? this.#mark.processorMs),
      sentBytes: this.#mark.sentBytes === null ? null : (sentBytes ?? this.#mark.sentBytes),
    };
  }

  #readBaseline(): void {
    const container = this.#parts.container();
    this.#mark.processorMs = container?.processorTimeMs() ?? 0;
    this.#mark.sentBytes = container?.network?.sentBytes() ?? 0;
  }

  #noteBucket(use: BucketUse): void {
    const seen = this.#bucketSeen;
    const since = (read: (from: BucketUse) => number): number =>
      Math.max(0, read(use) - (seen === null ? 0 : read(seen)));
    const counters = this.#counters;
    counters.bucketWrites += since(({ requests }) => requests.put + requests.list);
    counters.bucketReads += since(({ requests }) => requests.get);
    counters.bucketDeletes += since(({ requests }) => requests.delete);
    counters.bucketWrittenBytes += since(({ writtenBytes }) => writtenBytes);
    counters.bucketReadBytes += since(({ readBytes }) => readBytes);
    this.#bucketSeen = use;
  }
}

function newReport(): Pick<UsageReport, "meterId" | "counters" | "storedBytes"> {
  return { meterId: randomBytes(8).toString("hex"), counters: noUsage(), storedBytes: null };
}

/** Nothing before there was a baseline, and nothing for a counter that began anew. */
function grown(from: number | null, to: number | null): number {
  return from === null || to === null ? 0 : Math.max(0, to - from);
}

function machineBootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
}
