/**
 * What reaches the bucket for each byte that the guest writes, 4 KiB at a time at random places: segments,
 * the map's transactions, and all that keeps both small.
 */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { blockSizeBytes, unitSizeBytes } from "../../block-map/geometry.ts";
import { MemoryObjectStore } from "../../object-store/testing/memory-object-store.ts";
import { VolumeEngine } from "../engine.ts";
import { seededRandom } from "./faulty-store.ts";

export interface Workload {
  /** The part of the disk that is written, full before the first write that counts. */
  workingSetBytes: number;
  writesPerSecond: number;
  seconds: number;
  /** Random writes before those that count, so that units are in as many slices as they get in the long run. */
  warmUpWrites?: number;
}

export interface Amplification extends Workload {
  /** Bytes of segments, and bytes of all objects, for each byte written. */
  segments: number;
  all: number;
}

/** A working set above this would fill the memory with segments: none is kept, so none is stored again. */
const keptBytesMax = 128 * 2 ** 20;

const warmUpWritesPerSecond = 5_000;

class CountingStore extends MemoryObjectStore {
  segmentBytes = 0;
  readonly #keepsSegments: boolean;

  constructor(options: { keepsSegments: boolean }) {
    super();
    this.#keepsSegments = options.keepsSegments;
  }

  override async putFile(key: string, localPath: string): Promise<void> {
    this.segmentBytes += statSync(localPath).size;
    if (this.#keepsSegments) await super.putFile(key, localPath);
  }

  get allBytes(): number {
    const { writtenBytes } = this.statistics();
    return this.#keepsSegments ? writtenBytes : writtenBytes + this.segmentBytes;
  }
}

/** One cut and one publication for each second of the guest; the clock is ours, so that it takes less. */
export async function measureAmplification(workload: Workload): Promise<Amplification> {
  const { workingSetBytes, writesPerSecond, seconds, warmUpWrites = 0 } = workload;
  const directory = mkdtempSync(join(tmpdir(), "write-amplification-"));
  const random = seededRandom(1);
  let nowMs = Date.UTC(2026, 0, 1);
  const store = new CountingStore({ keepsSegments: workingSetBytes <= keptBytesMax });
  const clock = {
    nowMs: () => nowMs,
    monotonicMs: () => nowMs,
    wait: () => Promise.resolve(),
  };
  const engine = await VolumeEngine.open({
    ...{ store, clock, random, prefix: "sprites/amplified" },
    cacheDirectory: join(directory, "cache"),
    cacheSizeBytesMax: 2 ** 40,
    sizeBytes: Math.ceil(workingSetBytes / unitSizeBytes) * unitSizeBytes,
    readOnly: false,
    syncIntervalMs: 1_000_000,
    onProblem: (problem) => {
      if (problem !== null) throw problem;
    },
  });
  const second = async (): Promise<void> => {
    nowMs += 1_000;
    await engine.sync();
  };
  const content = (sizeBytes: number): Buffer => {
    const bytes = Buffer.alloc(sizeBytes);
    for (let at = 0; at < sizeBytes; at += blockSizeBytes) bytes.writeDoubleLE(random() + 1, at);
    return bytes;
  };
  const writeAnywhere = async (): Promise<void> => {
    const block = Math.floor((random() * workingSetBytes) / blockSizeBytes);
    await engine.live.write(block * blockSizeBytes, content(blockSizeBytes));
  };
  try {
    const pieceBytes = 64 * unitSizeBytes;
    for (let at = 0; at < workingSetBytes; at += pieceBytes) {
      await engine.live.write(at, content(Math.min(pieceBytes, workingSetBytes - at)));
      if ((at / pieceBytes) % 8 === 7) await second();
    }
    await second();
    for (let write = 1; write <= warmUpWrites; write++) {
      await writeAnywhere();
      if (write % warmUpWritesPerSecond === 0 || write === warmUpWrites) await second();
    }
    const before = { segments: store.segmentBytes, all: store.allBytes };
    for (let elapsed = 0; elapsed < seconds; elapsed++) {
      for (let write = 0; write < writesPerSecond; write++) {
        await writeAnywhere();
      }
      await second();
    }
    const guestBytes = writesPerSecond * seconds * blockSizeBytes;
    return {
      ...workload,
      segments: (store.segmentBytes - before.segments) / guestBytes,
      all: (store.allBytes - before.all) / guestBytes,
    };
  } finally {
    await engine.close({ discard: true });
    rmSync(directory, { recursive: true, force: true });
  }
}
