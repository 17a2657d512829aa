import assert from "node:assert/strict";
import { test } from "node:test";
import { createLog } from "../base/log.ts";
import { waitUntil } from "../base/wait.ts";
import { ColdReaders } from "./cold-readers.ts";
import { readersMax } from "./limits.ts";
import { placesOf } from "./places.ts";
import { Slots } from "./slots.ts";
import type { SpriteSpec } from "./worker.ts";

class FakeProcess {
  readonly readiness = Promise.withResolvers<{ socketPath: string }>();
  readonly end = Promise.withResolvers<void>();
  readonly ready = this.readiness.promise;
  readonly ended = this.end.promise;
  isStopped = false;

  constructor() {
    this.ready.catch(() => undefined);
  }

  async stop(): Promise<void> {
    this.isStopped = true;
    this.end.resolve();
  }
}

function rig(options: { idleMs?: number; failure?: Error } = {}): {
  readers: ColdReaders;
  started: FakeProcess[];
} {
  const { failure, ...rest } = options;
  const started: FakeProcess[] = [];
  const readers = new ColdReaders({
    places: placesOf("/nonexistent/cold-readers-test"),
    ...{ bucket: "", cacheSizeBytesMax: 0, version: "", logLevel: "silent" },
    slots: new Slots("0".repeat(8)),
    mountImage: async () => "",
    log: createLog({ level: "silent", room: "test" }),
    startProcess: () => {
      const process = new FakeProcess();
      started.push(process);
      if (failure === undefined) {
        process.readiness.resolve({ socketPath: `/reader-${started.length}` });
      } else {
        process.readiness.reject(failure);
        process.end.resolve();
      }
      return process;
    },
    ...rest,
  });
  return { readers, started };
}

const specOf = (id: string): SpriteSpec => ({ id }) as SpriteSpec;
const hour = 3_600_000;

test("those who read one sprite at a time share one reader, which stays for the next", async () => {
  const { readers, started } = rig({ idleMs: hour });
  const [one, other] = await Promise.all([readers.open(specOf("a")), readers.open(specOf("a"))]);
  assert.equal(one?.socketPath, other?.socketPath);
  one?.done();
  other?.done();
  await readers.open(specOf("a"));
  assert.equal(started.length, 1);
});

test("a reader that nobody uses ends, and one that is used does not", async () => {
  const { readers, started } = rig({ idleMs: 1 });
  const one = await readers.open(specOf("a"));
  const other = await readers.open(specOf("a"));
  one?.done();
  one?.done();
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(started[0]?.isStopped, false);
  other?.done();
  assert.ok(await waitUntil(() => started[0]?.isStopped === true, { timeoutMs: 30_000 }));
});

test("a start of the sprite gives new requests another reader, and lets the old ones finish", async () => {
  const { readers, started } = rig({ idleMs: hour });
  const before = await readers.open(specOf("a"));
  readers.leave("a");
  assert.equal(started[0]?.isStopped, false);
  const after = await readers.open(specOf("a"));
  assert.notEqual(after?.socketPath, before?.socketPath);
  before?.done();
  assert.ok(await waitUntil(() => started[0]?.isStopped === true, { timeoutMs: 30_000 }));
  assert.equal(started[1]?.isStopped, false);
});

test("so many at a time; one that only waits makes place", async () => {
  const { readers, started } = rig({ idleMs: hour });
  const all = [];
  for (let index = 0; index < readersMax; index += 1) {
    all.push(await readers.open(specOf(`s${index}`)));
  }
  await assert.rejects(readers.open(specOf("more")), { code: "unavailable" });
  all[3]?.done();
  assert.ok(await readers.open(specOf("more")));
  assert.ok(await waitUntil(() => started[3]?.isStopped === true, { timeoutMs: 30_000 }));
});

test("a disk that only a start can open is not tried again before there was one", async () => {
  const { readers, started } = rig({ failure: new Error("its journal is not empty") });
  assert.equal(await readers.open(specOf("a")), null);
  assert.equal(await readers.open(specOf("a")), null);
  assert.equal(started.length, 1);
  readers.leave("a");
  assert.equal(await readers.open(specOf("a")), null);
  assert.equal(started.length, 2);
});

test("a sprite that is destroyed has no readers left, and a server that stops has none", async () => {
  const { readers, started } = rig({ idleMs: hour });
  await readers.open(specOf("a"));
  readers.leave("a");
  await readers.open(specOf("a"));
  await readers.open(specOf("b"));
  await readers.end("a");
  assert.deepEqual(
    started.map(({ isStopped }) => isStopped),
    [true, true, false],
  );
  await readers.stop();
  assert.equal(started[2]?.isStopped, true);
  assert.equal(await readers.open(specOf("b")), null);
});
