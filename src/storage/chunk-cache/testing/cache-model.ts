/**
 * A cache with the simplest possible world around it: the map is a JavaScript Map, the guest's view
 * is a buffer. Every operation is done on both, and what the cache says is compared with the model.
 */
import assert from "node:assert/strict";
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { blockSizeBytes, blocksPerUnit, unitSizeBytes } from "../../block-map/geometry.ts";
import { abortCut, beginCut, captureUnit, finishCut } from "../cut.ts";
import { Eviction } from "../eviction.ts";
import { LocalCache } from "../local-cache.ts";
import { loadPunchHole } from "../punch-hole.ts";
import type { SyncData } from "../residency-log.ts";

export const punchHole = loadPunchHole();

export interface RunningCut {
  cut: number;
  units: Int32Array;
  captured: number;
  /** The guest's view when the cut began. */
  snapshot: Buffer;
  changes: Map<number, Buffer | null>;
}

export class CacheModel {
  readonly directory = mkdtempSync(join(tmpdir(), "opensprites-cache-"));
  readonly unitCount: number;
  /** What the guest has written. */
  guest: Buffer;
  /** What the bucket has of each unit. */
  readonly map = new Map<number, Buffer>();
  lastCut = 0;
  running: RunningCut | null = null;
  bootId = "boot-1";
  local: LocalCache;
  /** What the last flush promised, and which blocks were changed since. */
  flushed: Buffer;
  readonly changedBlocks = new Set<number>();
  readonly #syncData: SyncData | undefined;

  constructor(unitCount: number, syncData?: SyncData) {
    this.unitCount = unitCount;
    this.#syncData = syncData;
    this.guest = Buffer.alloc(unitCount * unitSizeBytes);
    this.flushed = Buffer.from(this.guest);
    this.local = this.#open();
  }

  #open(): LocalCache {
    return LocalCache.open({
      directory: this.directory,
      sizeBytes: this.unitCount * unitSizeBytes,
      volumeId: "0123456789abcdef0123456789abcdef",
      bootId: this.bootId,
      readOnly: false,
      lastCut: this.lastCut,
      forEachMapped: (visit) => {
        for (const unit of this.map.keys()) visit(unit);
      },
      punchHole,
      nowMs: Date.now,
      ...(this.#syncData === undefined ? {} : { syncData: this.#syncData }),
    });
  }

  write(firstBlock: number, count: number, value: number): void {
    const bytes = Buffer.alloc(count * blockSizeBytes, value);
    const offset = firstBlock * blockSizeBytes;
    this.local.cache.write(offset, bytes, 0, bytes.length);
    this.guest.set(bytes, offset);
    this.#changed(firstBlock, count);
  }

  punch(firstBlock: number, count: number): void {
    const offset = firstBlock * blockSizeBytes;
    this.local.cache.punch(offset, count * blockSizeBytes, punchHole);
    this.guest.fill(0, offset, offset + count * blockSizeBytes);
    this.#changed(firstBlock, count);
  }

  #changed(firstBlock: number, count: number): void {
    for (let block = firstBlock; block < firstBlock + count; block++) this.changedBlocks.add(block);
  }

  /** Reads as the slow lane does: fetches what is missing, then reads again. */
  read(firstBlock: number, count: number): Buffer {
    const { cache } = this.local;
    const bytes = Buffer.alloc(count * blockSizeBytes);
    const offset = firstBlock * blockSizeBytes;
    if (!cache.tryRead(offset, bytes.length, bytes, 0)) {
      const last = Math.floor((offset + bytes.length - 1) / unitSizeBytes);
      for (let unit = Math.floor(offset / unitSizeBytes); unit <= last; unit++) this.#fill(unit);
      assert.ok(cache.tryRead(offset, bytes.length, bytes, 0), "readable after a fill");
    }
    return bytes;
  }

  #fill(unit: number): void {
    if (this.local.cache.missingBlocks(unit) === 0) return;
    const content = this.map.get(unit);
    assert.ok(content, `unit ${unit} is missing, so the map has it`);
    this.local.cache.fill(unit, content);
  }

  verifyRead(firstBlock: number, count: number): void {
    const offset = firstBlock * blockSizeBytes;
    const expected = this.guest.subarray(offset, offset + count * blockSizeBytes);
    assertSameBlocks(this.read(firstBlock, count), expected, firstBlock);
  }

  begin(): void {
    if (this.running !== null) return;
    const cut = this.lastCut + 1;
    const units = beginCut(this.local.cache, cut);
    const snapshot = Buffer.from(this.guest);
    this.running = { cut, units, captured: 0, snapshot, changes: new Map() };
  }

  captureNext(): boolean {
    const { running } = this;
    const unit = running?.units[running.captured];
    if (running === null || unit === undefined) return false;
    // Blocks that the cut does not read are as the map has them.
    const content = Buffer.from(this.map.get(unit) ?? Buffer.alloc(unitSizeBytes));
    const capture = captureUnit(this.local.cache, unit, content, ({ dirty, here }) =>
      unit % 2 === 0 ? dirty : here,
    );
    if (capture === "zeros") content.fill(0);
    const at = unit * unitSizeBytes;
    const expected = running.snapshot.subarray(at, at + unitSizeBytes);
    assertSameBlocks(content, expected, unit * 16);
    running.changes.set(unit, content.every((byte) => byte === 0) ? null : content);
    running.captured++;
    return true;
  }

  /** Commits the running cut; `isKilled` stops between the map's commit and the cache's. */
  async finish(options: { isKilled: boolean }): Promise<void> {
    const { running } = this;
    if (running === null) return;
    while (this.captureNext());
    await this.flush();
    this.#commit(running);
    if (options.isKilled) {
      this.kill();
      return;
    }
    this.#finishCommitted(running);
  }

  /** Commits the running cut, which somebody has flushed. */
  commit(): void {
    const { running } = this;
    if (running === null) return;
    this.#commit(running);
    this.#finishCommitted(running);
  }

  #commit(running: RunningCut): void {
    for (const [unit, content] of running.changes) {
      if (content === null) this.map.delete(unit);
      else this.map.set(unit, content);
    }
    this.lastCut = running.cut;
    this.running = null;
  }

  #finishCommitted(running: RunningCut): void {
    finishCut(this.local.cache, running.cut, running.units, (unit) => this.map.has(unit));
    this.local.clearAside();
  }

  abort(): void {
    if (this.running === null) return;
    abortCut(this.local.cache, this.running.units);
    this.running = null;
  }

  evict(): void {
    const eviction = new Eviction(this.local.cache, { punchHole, sizeBytesMax: 0 });
    eviction.makeRoom(Number.MAX_SAFE_INTEGER);
  }

  async flush(): Promise<void> {
    await this.local.flush();
    this.flushed = Buffer.from(this.guest);
    this.changedBlocks.clear();
  }

  /** kill -9 and a new process: nothing acknowledged is lost. */
  kill(): void {
    this.local.abandon();
    this.running = null;
    this.local = this.#open();
    assert.equal(this.local.distrust, null);
  }

  /** A kill, and a block of the file that is not what it was; nobody can tell that of a dirty one. */
  damage(block: number): void {
    const { state } = this.local.cache;
    const unit = Math.floor(block / blocksPerUnit);
    const isClean = state.dirty(unit) === 0 && ((state.cuts[unit] as number) & 0xffff) === 0;
    if (isClean) {
      const file = openSync(join(this.directory, "blocks"), "r+");
      writeSync(file, Buffer.of(251, 13, 251), 0, 3, block * blockSizeBytes + 77);
      closeSync(file);
    }
    this.kill();
  }

  /** A new kernel: what was flushed is there; a block written since is old or new, and stays what it is. */
  reboot(): void {
    this.bootId = `${this.bootId}+`;
    this.kill();
    const found = this.read(0, this.unitCount * 16);
    for (let block = 0; block < this.unitCount * 16; block++) {
      if (this.changedBlocks.has(block)) continue;
      const at = block * blockSizeBytes;
      const end = at + blockSizeBytes;
      assertSameBlocks(found.subarray(at, end), this.flushed.subarray(at, end), block);
    }
    this.guest = found;
    this.flushed = Buffer.from(found);
    this.changedBlocks.clear();
  }

  /** A clean end, something done to the files, and a new process. Returns why it set them aside, or null. */
  async tamper(change: (directory: string) => void): Promise<string | null> {
    await this.local.close();
    change(this.directory);
    return this.reopen();
  }

  /** A new process, after the last one has ended. Returns why it set the files aside, or null. */
  reopen(): string | null {
    this.running = null;
    this.local = this.#open();
    return this.local.distrust;
  }

  close(): void {
    this.local.abandon();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Compares by block and first byte, so that a failure is short. */
export function assertSameBlocks(found: Buffer, expected: Buffer, firstBlock: number): void {
  if (found.equals(expected)) return;
  for (let at = 0; at < expected.length; at += blockSizeBytes) {
    const end = at + blockSizeBytes;
    if (found.subarray(at, end).equals(expected.subarray(at, end))) continue;
    const block = firstBlock + at / blockSizeBytes;
    assert.fail(`block ${block} begins with ${found[at]}, not ${expected[at]}`);
  }
}
