/** A reader beside a closed volume: it takes what it can from the owner's cache, and believes none of it unchecked. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { open, readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { unitSizeBytes } from "../block-map/geometry.ts";
import { blocksName } from "../chunk-cache/cache-files.ts";
import { DirectoryObjectStore } from "../object-store/directory-object-store.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { VolumeEngine, type EngineOptions } from "./engine.ts";
import { copyLocalMap } from "./local-copy.ts";
import { mapName } from "./volume-state.ts";

const prefix = "sprites/one";
const units = 8;
let directory: string;
let store: ObjectStore;
let content: Buffer;
const writes = new Set(["put", "putIfAbsent", "swap", "delete", "deleteMany"]);

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "local-copy-"));
  store = await DirectoryObjectStore.open(join(directory, "bucket"));
  content = randomBytes(units * unitSizeBytes);
  const owner = await VolumeEngine.open(optionsOf({ sizeBytes: 64 * unitSizeBytes }));
  await owner.live.write(0, content);
  await owner.close({ discard: false });
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const ownersCache = (): string => join(directory, "cache");
const readersCache = (): string => join(directory, "reader");

function optionsOf(change: Partial<EngineOptions>): EngineOptions {
  return {
    ...{ store, prefix, cacheDirectory: ownersCache(), cacheSizeBytesMax: 2 ** 30 },
    ...{ sizeBytes: 0, readOnly: false, syncIntervalMs: 1_000 },
    onProblem: () => undefined,
    ...change,
  };
}

/** What a reader reads, and what it asked the store for meanwhile. */
async function readAll(): Promise<{ bytes: Buffer; calls: string[] }> {
  const calls: string[] = [];
  const counting = new Proxy(store, {
    get(target, name) {
      const method = Reflect.get(target, name) as (...args: unknown[]) => unknown;
      return (...args: unknown[]) => {
        calls.push(`${String(name)} ${String(args[0])}`);
        return method.apply(target, args);
      };
    },
  });
  await copyLocalMap({ from: ownersCache(), to: readersCache(), prefix });
  const reader = await VolumeEngine.open(
    optionsOf({
      ...{ store: counting, cacheDirectory: readersCache(), readOnly: true },
      otherCacheDirectory: ownersCache(),
    }),
  );
  const bytes = Buffer.from(await reader.live.read(0, content.length));
  await reader.close({ discard: true });
  assert.ok(!calls.some((call) => writes.has(call.split(" ")[0] ?? "")), calls.join("\n"));
  return { bytes, calls };
}

async function state(): Promise<string[]> {
  const names = (await readdir(directory, { recursive: true })).filter(
    (name) => !name.startsWith("reader") && statSync(join(directory, name)).isFile(),
  );
  return names.toSorted().map((name) => {
    const { size, mtimeMs } = statSync(join(directory, name));
    return `${name} ${size} ${mtimeMs}`;
  });
}

test("all of it comes from the owner's cache but the head, and nothing there or in the bucket changes", async () => {
  const before = await state();
  const { bytes, calls } = await readAll();
  assert.ok(bytes.equals(content));
  assert.deepEqual(calls, [`getWithEtag ${prefix}/head.json`]);
  assert.deepEqual(await state(), before);
});

test("blocks that the owner has overwritten since come from the bucket, as they were", async () => {
  const file = await open(join(ownersCache(), blocksName), "r+");
  await file.write(randomBytes(4096), 0, 4096, 3 * unitSizeBytes);
  await file.close();
  const { bytes, calls } = await readAll();
  assert.ok(bytes.equals(content));
  assert.equal(calls.filter((call) => call.startsWith("getRange")).length, 1);
});

test("a map that changed in the middle of being copied is fetched instead", async () => {
  await copyLocalMap({ from: ownersCache(), to: readersCache(), prefix });
  const file = await open(join(readersCache(), mapName), "r+");
  await file.write(Buffer.from("x"), 0, 1, 5_000);
  await file.close();
  const damaged = readFileSync(join(readersCache(), mapName));
  const reader = await VolumeEngine.open(
    optionsOf({ cacheDirectory: readersCache(), readOnly: true }),
  );
  assert.ok(Buffer.from(await reader.live.read(0, content.length)).equals(content));
  await reader.close({ discard: true });
  assert.ok(!readFileSync(join(readersCache(), mapName)).equals(damaged));
});

test("a volume that somebody has open, or did not close, is not read: there may be something newer", async () => {
  const owner = await VolumeEngine.open(optionsOf({}));
  await owner.live.write(0, randomBytes(unitSizeBytes));
  await copyLocalMap({ from: ownersCache(), to: readersCache(), prefix });
  assert.ok(!existsSync(join(readersCache(), mapName)));
  await assert.rejects(readAll(), { code: "conflict" });
  await owner.abandon();
  await assert.rejects(readAll(), { code: "conflict" });
});

test("nothing here at all: all of it is fetched", async () => {
  rmSync(ownersCache(), { recursive: true });
  const { bytes } = await readAll();
  assert.ok(bytes.equals(content));
});
