/** A store that fails, or a process that dies, at each request of a fork: nothing of it is left, at its owners either. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { unitSizeBytes } from "../block-map/geometry.ts";
import type { Fault, FaultRule } from "../object-store/testing/fault-script.ts";
import { MemoryObjectStore } from "../object-store/testing/memory-object-store.ts";
import { destroyVolume } from "./destroy.ts";
import { VolumeEngine } from "./engine.ts";
import { forkVolume } from "./fork.ts";

const store = new MemoryObjectStore();
/** More than a fork makes. */
const requestsMax = 200;
let directory = "";
let keysBefore: string[] = [];

/** A source that is itself a fork, so that there are two owners to leave markers at. */
before(async () => {
  directory = mkdtempSync(join(tmpdir(), "opensprites-fork-faults-"));
  await writeUnit("first", 0);
  await fork("first", "source");
  await writeUnit("source", 1);
  keysBefore = keys();
});
after(() => rmSync(directory, { recursive: true, force: true }));

async function writeUnit(name: string, unit: number): Promise<void> {
  const engine = await VolumeEngine.open({
    ...{ store, prefix: `sprites/${name}`, cacheDirectory: join(directory, name) },
    ...{ cacheSizeBytesMax: 2 ** 30, sizeBytes: 64 * unitSizeBytes, readOnly: false },
    ...{ syncIntervalMs: 0, onProblem: () => undefined },
  });
  await engine.live.write(unit * unitSizeBytes, Buffer.alloc(unitSizeBytes, 7));
  await engine.close({ discard: false });
}

async function fork(from: string, to: string): Promise<void> {
  await forkVolume({
    ...{ store, from: `sprites/${from}`, to: `sprites/${to}`, forkId: to, checkpoint: null },
    scratchDirectory: join(directory, "scratch"),
  });
}

function keys(): string[] {
  return [...store.contents().keys()].toSorted();
}

/** Forks under the rule at each request in turn; returns how often that failed. */
async function forkAtEach(
  rule: (skip: number) => FaultRule,
  check: (isMade: boolean) => Promise<void>,
): Promise<number> {
  let failures = 0;
  for (let skip = 0; ; skip++) {
    assert.ok(skip < requestsMax, "a fork ends");
    store.faults.setRules([rule(skip)]);
    const requestsBefore = requestCount();
    const isMade = await fork("source", "fork").then(
      () => true,
      () => false,
    );
    const isHit = requestCount() - requestsBefore > skip;
    store.faults.setRules([]);
    if (!isMade) failures++;
    await check(isMade);
    await destroyVolume({ store, prefix: "sprites/fork" });
    assert.deepEqual(keys(), keysBefore, `destroyed after a fault at request ${skip}`);
    if (!isHit) return failures;
  }
}

function requestCount(): number {
  const { requests } = store.statistics();
  return Object.values(requests).reduce((sum, count) => sum + count, 0);
}

for (const kind of ["unavailable", "lost-request", "lost-reply"] as const) {
  const fault: Fault = kind === "unavailable" ? { kind } : { kind, isReadBack: false };
  test(`a fork that fails once, by ${kind}, clears up after itself`, async () => {
    const failures = await forkAtEach(
      (skip) => ({ fault, skip, count: 1 }),
      async (isMade) => {
        if (!isMade) assert.deepEqual(keys(), keysBefore);
      },
    );
    assert.ok(failures >= 8, `${failures} failed`);
  });
}

test("what a fork leaves that could not clear up goes when it is destroyed", async () => {
  let leftSomething = 0;
  await forkAtEach(
    (skip) => ({ fault: { kind: "unavailable" }, skip }),
    async () => void (leftSomething += keys().length > keysBefore.length ? 1 : 0),
  );
  assert.ok(leftSomething >= 5, `${leftSomething} left something`);
});
