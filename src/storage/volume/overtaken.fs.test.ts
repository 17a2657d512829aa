import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { unitSizeBytes } from "../block-map/geometry.ts";
import { MemoryObjectStore } from "../object-store/testing/memory-object-store.ts";
import { VolumeEngine, type EngineOptions } from "./engine.ts";

const prefix = "sprites/test";
const content = randomBytes(unitSizeBytes);
let directory = "";
let store: MemoryObjectStore;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "opensprites-overtaken-"));
  store = new MemoryObjectStore();
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function open(server: string, options: Partial<EngineOptions> = {}): Promise<VolumeEngine> {
  return VolumeEngine.open({
    store,
    prefix,
    server,
    cacheDirectory: join(directory, server),
    cacheSizeBytesMax: 2 ** 30,
    sizeBytes: 16 * unitSizeBytes,
    readOnly: false,
    syncIntervalMs: 60_000,
    onProblem: () => undefined,
    retryMsMin: 5,
    ...options,
  });
}

/** Leaves a volume whose server has died, with a write that only its machine has. */
async function dieUnstored(): Promise<void> {
  const engine = await open("here");
  await engine.live.write(0, Buffer.alloc(content.length, 1));
  await engine.sync();
  await engine.live.write(0, content);
  await engine.flush();
  await engine.abandon();
}

/** Whoever lists the chain next has the volume already, and stands still until another has taken it. */
function overtakeAtList(): { theirs: Promise<VolumeEngine> } {
  const theirs = Promise.withResolvers<VolumeEngine>();
  const list = store.list.bind(store);
  store.list = async function* (...from) {
    store.list = list;
    theirs.resolve(await open("there"));
    yield* list(...from);
  };
  return { theirs: theirs.promise };
}

/** The overtaker's word counts: what it has read is all there is, and what it writes is stored. */
async function verifyHeldBy(theirs: VolumeEngine): Promise<void> {
  await theirs.live.write(unitSizeBytes, content);
  await theirs.sync();
  await theirs.close({ discard: false });
  const later = await open("elsewhere");
  const found = await later.live.read(0, content.length);
  assert.ok(Buffer.alloc(content.length, 1).equals(found), "nothing came in behind the fence");
  assert.ok(content.equals(await later.live.read(unitSizeBytes, content.length)));
  await later.close({ discard: false });
}

test("who claims late, and is overtaken before it sees the chain, does not go on behind the fence", async () => {
  await dieUnstored();
  const late = await open("here", { isStillOurs: true });
  const { theirs } = overtakeAtList();
  await assert.rejects(late.sync(), { details: { isFenced: true } });
  await late.abandon();
  await verifyHeldBy(await theirs);
});

test("who opens its own local state, and is overtaken before it sees the chain, is fenced", async () => {
  await dieUnstored();
  const { theirs } = overtakeAtList();
  await assert.rejects(open("here"), { details: { isFenced: true } });
  await verifyHeldBy(await theirs);
});

test("who takes a volume over, and is overtaken itself before it sees the chain, fences nobody", async () => {
  await dieUnstored();
  const { theirs } = overtakeAtList();
  await assert.rejects(open("third"), { details: { isFenced: true } });
  await verifyHeldBy(await theirs);
});
