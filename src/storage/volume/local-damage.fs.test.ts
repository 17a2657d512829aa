/** Whatever happens to this machine's files while nobody looks: what is read is right, or an error. */
import assert from "node:assert/strict";
import {
  closeSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { blockSizeBytes, unitSizeBytes } from "../block-map/geometry.ts";
import { Eviction } from "../chunk-cache/eviction.ts";
import { loadPunchHole } from "../chunk-cache/punch-hole.ts";
import { MemoryObjectStore } from "../object-store/testing/memory-object-store.ts";
import { VolumeEngine } from "./engine.ts";
import { seededRandom } from "./testing/faulty-store.ts";

const unitCount = 48;
const rounds = 12;

function open(store: MemoryObjectStore, cacheDirectory: string): Promise<VolumeEngine> {
  return VolumeEngine.open({
    store,
    prefix: "sprites/damage",
    cacheDirectory,
    cacheSizeBytesMax: 2 ** 30,
    sizeBytes: unitCount * unitSizeBytes,
    readOnly: false,
    syncIntervalMs: 1_000,
    onProblem: () => undefined,
  });
}

/** Writes at random, cuts, evicts: units in several slices, some here, some not, some never written. */
async function makeVolume(store: MemoryObjectStore, cacheDirectory: string): Promise<Buffer> {
  const random = seededRandom(99);
  const disk = Buffer.alloc(unitCount * unitSizeBytes);
  const engine = await open(store, cacheDirectory);
  for (let cut = 0; cut < 6; cut++) {
    for (let write = 0; write < 25; write++) {
      const block = Math.floor(random() * 0.8 * unitCount * 16);
      const bytes = Buffer.alloc(
        blockSizeBytes * (1 + Math.floor(random() * 20)),
        1 + write + cut * 25,
      );
      bytes.copy(disk, block * blockSizeBytes);
      await engine.live.write(block * blockSizeBytes, bytes);
    }
    await engine.sync();
  }
  await engine.close({ discard: false });
  return disk;
}

/** The files of a directory, put back with their inodes: the log knows that of the cache file. */
class Snapshot {
  readonly #directory: string;
  readonly #linked: string;
  readonly #files = new Map<string, Buffer>();

  constructor(directory: string, linked: string) {
    this.#directory = directory;
    this.#linked = linked;
    const entries = readdirSync(directory, { recursive: true, withFileTypes: true });
    for (const entry of entries.filter((each) => each.isFile())) {
      const name = join(entry.parentPath, entry.name).slice(directory.length + 1);
      this.#files.set(name, readFileSync(join(directory, name)));
      mkdirSync(dirname(join(linked, name)), { recursive: true });
      linkSync(join(directory, name), join(linked, name));
    }
  }

  get names(): string[] {
    return [...this.#files].filter(([, bytes]) => bytes.length > 0).map(([name]) => name);
  }

  restore(): void {
    rmSync(this.#directory, { recursive: true });
    for (const [name, bytes] of this.#files) {
      mkdirSync(dirname(join(this.#directory, name)), { recursive: true });
      linkSync(join(this.#linked, name), join(this.#directory, name));
      writeFileSync(join(this.#directory, name), bytes);
    }
  }
}

/** One bit of a byte that is not zero, from there on: much of every file is. */
function flip(path: string, random: () => number, from: number): void {
  const bytes = readFileSync(path);
  const places = [...bytes.keys()].filter((at) => at >= from && bytes[at] !== 0);
  const at = places[Math.floor(random() * places.length)] ?? 0;
  const file = openSync(path, "r+");
  writeSync(file, Buffer.of((bytes[at] as number) ^ (1 << Math.floor(random() * 8))), 0, 1, at);
  closeSync(file);
}

function dropAll(engine: VolumeEngine): void {
  const options = { punchHole: loadPunchHole(), sizeBytesMax: 0 };
  new Eviction(engine.local.cache, options).makeRoom(Number.MAX_SAFE_INTEGER);
}

async function copyOf(store: MemoryObjectStore): Promise<MemoryObjectStore> {
  const copy = new MemoryObjectStore();
  for (const [key, bytes] of store.contents()) await copy.put(key, bytes);
  return copy;
}

test("a bit that flipped in any local file changes nothing that is read", async (context) => {
  const directory = mkdtempSync(join(tmpdir(), "opensprites-damage-"));
  const store = new MemoryObjectStore();
  try {
    const cache = join(directory, "cache");
    const disk = await makeVolume(store, cache);
    const snapshot = new Snapshot(cache, join(directory, "linked"));
    const wrong: string[] = [];
    const outcomes = new Map<string, number>();
    const count = (outcome: string): void => {
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    };
    // The log lies behind the disk in the cache file.
    const targets = [...snapshot.names, "blocks, log"];
    for (let round = 0; round < rounds * targets.length; round++) {
      const name = targets[round % targets.length] as string;
      snapshot.restore();
      const [file, part] = name.split(", ") as [string, string?];
      const from = part === undefined ? 0 : unitCount * unitSizeBytes;
      flip(join(cache, file), seededRandom(round), from);
      let engine: VolumeEngine;
      try {
        engine = await open(await copyOf(store), cache);
      } catch {
        count(`${name}: not opened`);
        continue;
      }
      count(`${name}: ${engine.local.distrust === null ? "believed" : "set aside"}`);
      for (const pass of ["cached", "fetched"]) {
        for (let unit = 0; unit < unitCount; unit++) {
          const expected = disk.subarray(unit * unitSizeBytes, (unit + 1) * unitSizeBytes);
          const found = await engine.live
            .read(unit * unitSizeBytes, unitSizeBytes)
            .catch(() => count(`${name}: unit not read`));
          const isWrong = found instanceof Uint8Array && !expected.equals(found);
          if (isWrong) wrong.push(`round ${round}: ${name}, unit ${unit}, ${pass}`);
        }
        dropAll(engine);
      }
      await engine.abandon();
    }
    context.diagnostic(JSON.stringify(Object.fromEntries(outcomes)));
    assert.deepEqual(wrong, []);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
