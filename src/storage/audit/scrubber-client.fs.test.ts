import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { must } from "../../base/assert.ts";
import { DirectoryObjectStore } from "../object-store/directory-object-store.ts";
import { beginPass, msUntilNextPass, readPosition } from "./scrub-position.ts";
import type { Damage } from "./scrub-volume.ts";
import { ScrubberClient, type ScrubberClientOptions } from "./scrubber-client.ts";
import { AuditRig, writeUnit } from "./testing/audit-rig.ts";

let directory: string;
let rig: AuditRig;
let bucket: string;
let positionPath: string;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "opensprites-scrubber-"));
  bucket = join(directory, "bucket");
  positionPath = join(directory, "scrub.json");
  rig = new AuditRig(await DirectoryObjectStore.open(bucket));
  const engine = await rig.open("one");
  for (const unit of [0, 1]) await writeUnit(engine, unit, 1);
  await engine.close({ discard: false });
  const [first = ""] = (await rig.keys("sprites/one/data/")).toSorted();
  const path = join(bucket, first);
  const bytes = readFileSync(path);
  bytes[5000] = (bytes[5000] ?? 0) ^ 1;
  rmSync(path);
  writeFileSync(path, bytes);
});
afterEach(async () => {
  await rig.dispose();
  rmSync(directory, { recursive: true, force: true });
});

/** Starts a client and waits for the end of a pass, or for a problem. */
function run(options: Partial<ScrubberClientOptions> = {}): {
  client: ScrubberClient;
  damages: Damage[];
  ended: Promise<{ damages: number; readBytes: number } | Error>;
} {
  const damages: Damage[] = [];
  const { promise: ended, resolve } = Promise.withResolvers<
    { damages: number; readBytes: number } | Error
  >();
  const client = new ScrubberClient({
    ...{ bucket, rateBytes: 2 ** 30, positionPath, startDelayMs: 1 },
    ...{ onDamage: (found) => damages.push(found), onPassed: resolve, onProblem: resolve },
    ...options,
  });
  return { client, damages, ended };
}

test("a thread reads the bucket, tells what is damaged, and keeps it", async () => {
  const { client, damages, ended } = run();
  // The client's own timer keeps no process alive.
  const alive = setInterval(() => undefined, 1_000);
  const passed = await ended;
  await client.stop();
  assert.ok(!(passed instanceof Error) && passed.damages === 1 && passed.readBytes > 100_000);
  assert.match(damages[0]?.reason ?? "", /checksum does not match/);
  const position = must(await readPosition(positionPath), "a position is kept");
  assert.ok(position.endedAtMs !== null && position.damages.length === 1);
  clearInterval(alive);
});

test("a stop ends a slow pass at once, and the next one goes on", async () => {
  const { client } = run({ rateBytes: 50_000 });
  const alive = setInterval(() => undefined, 1_000);
  const began = performance.now();
  while (!existsSync(positionPath)) {
    assert.ok(performance.now() - began < 20_000, "it keeps its position");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const asked = performance.now();
  await client.stop();
  assert.ok(performance.now() - asked < 10_000);
  const position = must(await readPosition(positionPath), "it was kept");
  assert.deepEqual([position.volume, position.endedAtMs], ["sprites/one", null]);
  const { client: next, ended } = run();
  assert.ok(!((await ended) instanceof Error));
  await next.stop();
  clearInterval(alive);
});

test("a bucket that cannot be read is a problem, not a crash", async () => {
  rmSync(bucket, { recursive: true });
  writeFileSync(bucket, "no directory");
  const { client, ended } = run();
  const alive = setInterval(() => undefined, 1_000);
  assert.ok((await ended) instanceof Error);
  await client.stop();
  clearInterval(alive);
});

test("a pass begins a week after the last one began, and at once when that did not end", () => {
  const dayMs = 24 * 60 * 60_000;
  const begun = beginPass(1_000 * dayMs);
  const ended = { ...begun, endedAtMs: 1_003 * dayMs };
  assert.equal(msUntilNextPass(null, 0), 0);
  assert.equal(msUntilNextPass(begun, 1_000 * dayMs), 0);
  assert.equal(msUntilNextPass(ended, 1_003 * dayMs), 4 * dayMs);
  assert.equal(msUntilNextPass(ended, 1_009 * dayMs), 0);
  // Of a clock that was set back by years nobody can tell.
  assert.equal(msUntilNextPass(ended, 1 * dayMs), 0);
});
