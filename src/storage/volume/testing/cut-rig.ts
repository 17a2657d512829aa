/**
 * A map, a cache, a cutter and a bucket, without the rhythm of a volume: every step is the caller's. What the guest
 * and each checkpoint should read is kept beside them.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BlockMap } from "../../block-map/block-map.ts";
import { blockSizeBytes, blocksPerUnit, unitSizeBytes } from "../../block-map/geometry.ts";
import { Eviction, invalidateUnits } from "../../chunk-cache/eviction.ts";
import { LocalCache } from "../../chunk-cache/local-cache.ts";
import { loadPunchHole } from "../../chunk-cache/punch-hole.ts";
import { MemoryObjectStore } from "../../object-store/testing/memory-object-store.ts";
import { Cutter } from "../cutter.ts";
import { Rewriter, type PreparedRewrite } from "../rewriter.ts";
import { SegmentReader } from "../segment-reader.ts";
import { Staging } from "../staging.ts";

const prefix = "sprites/rig";
const punchHole = loadPunchHole();

export class CutRig {
  readonly directory: string;
  readonly store = new MemoryObjectStore();
  readonly map: BlockMap;
  readonly local: LocalCache;
  readonly reader: SegmentReader;
  readonly rewriter: Rewriter;
  readonly guest: Buffer;
  readonly checkpoints = new Map<string, Buffer>();
  /** Bytes of all segments that were stored. */
  segmentBytes = 0;
  readonly #cutter: Cutter;
  readonly #staging: Staging;
  readonly #eviction: Eviction;

  constructor(unitCount: number, parentDirectory = tmpdir()) {
    this.directory = mkdtempSync(join(parentDirectory, "opensprites-cut-"));
    const sizeBytes = unitCount * unitSizeBytes;
    this.guest = Buffer.alloc(sizeBytes);
    this.map = BlockMap.create(join(this.directory, "map.db"), { sizeBytes });
    this.local = LocalCache.open({
      directory: join(this.directory, "cache"),
      sizeBytes,
      volumeId: "0123456789abcdef0123456789abcdef",
      bootId: "boot",
      readOnly: false,
      lastCut: 0,
      forEachMapped: () => undefined,
      punchHole,
      nowMs: () => 0,
    });
    this.#staging = new Staging(join(this.directory, "staging"));
    this.#eviction = new Eviction(this.local.cache, { punchHole, sizeBytesMax: 0 });
    this.reader = new SegmentReader({
      store: this.store,
      staging: this.#staging,
      keyOf: (segment) => `${prefix}/${this.map.segmentKey(segment)}`,
    });
    this.rewriter = new Rewriter({ map: this.map, reader: this.reader });
    this.#cutter = new Cutter({
      map: this.map,
      local: this.local,
      staging: this.#staging,
      eviction: this.#eviction,
      putSegment: async (id, bytes) => {
        await this.store.put(`${prefix}/${this.map.segmentKey(id)}`, bytes);
      },
    });
  }

  write(block: number, count: number, value: number): void {
    const bytes = Buffer.alloc(count * blockSizeBytes, value);
    this.local.cache.write(block * blockSizeBytes, bytes, 0, bytes.length);
    this.guest.set(bytes, block * blockSizeBytes);
  }

  punch(block: number, count: number): void {
    const [at, lengthBytes] = [block * blockSizeBytes, count * blockSizeBytes];
    this.local.cache.punch(at, lengthBytes, punchHole);
    this.guest.fill(0, at, at + lengthBytes);
  }

  /** Cuts and uploads. */
  async cut(
    options: { checkpoint?: boolean; prepared?: PreparedRewrite | null } = {},
  ): Promise<void> {
    const checkpoint = { comment: "", isAuto: false, createTimeMs: 0 };
    const record = await this.#cutter.finish(
      this.#cutter.begin(),
      options.checkpoint === true ? checkpoint : null,
      options.prepared ?? null,
    );
    if (record !== null) this.checkpoints.set(record.id, Buffer.from(this.guest));
    for (const id of this.#staging.waiting()) {
      const bytes = readFileSync(this.#staging.path(id));
      this.segmentBytes += bytes.length;
      await this.store.put(`${prefix}/${this.map.segmentKey(id)}`, bytes);
      this.#staging.uploaded(id);
    }
  }

  async rewrite(bytesMax: number): Promise<boolean> {
    const prepared = await this.rewriter.prepare({ bytesMax });
    if (prepared !== null) await this.cut({ prepared });
    return prepared !== null;
  }

  /** Nothing may be dirty. */
  restore(id: string): void {
    const units = this.map.restore(id);
    const isMapped = (unit: number): boolean => this.map.lookup(this.map.liveFileId, unit) !== null;
    invalidateUnits(this.local.cache, units, { punchHole, isMapped });
    this.guest.set(this.checkpoints.get(id) ?? []);
  }

  deleteCheckpoint(id: string): void {
    this.map.deleteCheckpoint(id);
    this.checkpoints.delete(id);
  }

  /** Drops all that is clean from the cache. */
  evict(): void {
    this.#eviction.makeRoom(Number.MAX_SAFE_INTEGER);
  }

  /** Deletes garbage, as soon as it may be. */
  async collect(): Promise<void> {
    const garbage = this.map.takeGarbage({ olderThanMs: 0, syncedCut: this.map.lastCut });
    await this.store.deleteMany(garbage.map(({ key }) => `${prefix}/${key}`));
    this.map.markDeleted(garbage.map(({ id }) => id));
  }

  /** The bucket holds what the guest and every checkpoint should read. Nothing may be dirty. */
  async verify(): Promise<void> {
    assert.deepEqual(this.map.checkIntegrity(), []);
    await this.#verifyFile(this.map.liveFileId, this.guest, "the live file");
    for (const [id, content] of this.checkpoints) {
      await this.#verifyFile(this.map.checkpointFileId(id), content, id);
    }
    this.#verifyUniqueBytes();
  }

  /** Compares every file with every other. */
  #verifyUniqueBytes(): void {
    const ids = [...this.checkpoints.keys()];
    const holders = new Map<string, string[]>();
    for (const id of ["live", ...ids]) {
      const fileId = id === "live" ? this.map.liveFileId : this.map.checkpointFileId(id);
      for (const place of this.#placesOf(fileId)) {
        holders.set(place, [...(holders.get(place) ?? []), id]);
      }
    }
    for (const id of ids) {
      const unique = [...holders.values()].filter((files) => files.length === 1 && files[0] === id);
      const expected = unique.length * blockSizeBytes;
      assert.equal(this.map.getCheckpoint(id)?.uniqueBytes, expected, `unique bytes of ${id}`);
    }
  }

  #placesOf(fileId: number): string[] {
    const places: string[] = [];
    const layouts = this.map.lookupRange(fileId, 0, this.guest.length / unitSizeBytes);
    for (const { segment, offsetBlocks, live } of layouts.flatMap((layout) => layout ?? [])) {
      for (let block = 0; block < blocksPerUnit; block++) {
        if ((live & (1 << block)) !== 0) places.push(`${segment} ${offsetBlocks} ${block}`);
      }
    }
    return places;
  }

  async #verifyFile(fileId: number, expected: Buffer, name: string): Promise<void> {
    const layouts = this.map.lookupRange(fileId, 0, expected.length / unitSizeBytes);
    const units = await this.reader.readUnits(layouts.filter((layout) => layout !== null));
    for (const [unit, layout] of layouts.entries()) {
      const content = layout === null ? Buffer.alloc(unitSizeBytes) : units.get(layout);
      const at = unit * unitSizeBytes;
      const wanted = expected.subarray(at, at + unitSizeBytes);
      assert.ok(content && wanted.equals(content), `unit ${unit} of ${name}`);
    }
  }

  /** Bytes that the map's commits have written to its log so far. */
  get logSizeBytes(): number {
    return statSync(`${this.map.path}-wal`).size;
  }

  async close(): Promise<void> {
    await this.#staging.close();
    this.local.abandon();
    this.map.close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
