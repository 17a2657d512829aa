import fc from "fast-check";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { FaultRule } from "../object-store/testing/fault-script.ts";
import { MemoryObjectStore } from "../object-store/testing/memory-object-store.ts";
import type { MaintenancePolicy } from "./database-replica.ts";
import { type CrashPoint, ReplicaRig } from "./testing/replica-rig.ts";

const timeBox = { interruptAfterTimeLimit: 5_000, markInterruptAsFailure: false, numRuns: 5_000 };

/** Small, so that a short run merges, makes snapshots and deletes. */
const policy: MaintenancePolicy = {
  levels: [
    { everyMs: 3_000, filesMax: 3 },
    { everyMs: 10_000, filesMax: 3 },
  ],
  snapshot: { everyMs: 15_000, outweighsBy: 1 },
  retentionMs: 20_000,
  levelZeroRetentionMs: 5_000,
};

const faults: readonly FaultRule[] = [
  { fault: { kind: "unavailable" }, chance: 0.05 },
  { fault: { kind: "truncated" }, chance: 0.05 },
  { fault: { kind: "lost-request", isReadBack: true }, chance: 0.05 },
  { fault: { kind: "lost-reply", isReadBack: true }, chance: 0.05 },
  { fault: { kind: "lost-reply", isReadBack: false }, chance: 0.05 },
  { fault: { kind: "late", afterRequests: 2 }, chance: 0.03 },
  { fault: { kind: "duplicate", afterRequests: 5 }, chance: 0.03 },
  { fault: { kind: "stale-list", changes: 3 }, chance: 0.2 },
  { fault: { kind: "partial-delete" }, chance: 0.2 },
];

const statements = [
  "INSERT INTO t (body) VALUES (randomblob(300))",
  "INSERT INTO t (body) VALUES (randomblob(20000))",
  "UPDATE t SET body = randomblob(200) WHERE id % 3 = 0",
  "DELETE FROM t WHERE id % 2 = 0",
  "DELETE FROM t",
  "VACUUM",
  "CREATE INDEX IF NOT EXISTS t_body ON t (body)",
  "DROP INDEX IF EXISTS t_body",
  "BEGIN; INSERT INTO t (body) VALUES (randomblob(9000)); DELETE FROM t WHERE id % 5 = 1; COMMIT",
] as const;

type Step =
  | { kind: "execute"; sql: string }
  | { kind: "sync"; crash: CrashPoint | undefined }
  | { kind: "wait"; ms: number }
  | { kind: "truncate" | "maintain" | "crash" | "reopen" | "interfere" };

const steps = fc.array(
  fc.oneof(
    { weight: 8, arbitrary: fc.constantFrom(...statements).map(execute) },
    { weight: 8, arbitrary: fc.constant<Step>({ kind: "sync", crash: undefined }) },
    { weight: 3, arbitrary: fc.constantFrom("captured", "shipped", "advanced").map(crashingSync) },
    { weight: 4, arbitrary: fc.constantFrom(1_000, 4_000, 16_000).map(wait) },
    {
      weight: 8,
      arbitrary: fc
        .constantFrom("truncate", "maintain", "maintain", "crash", "reopen", "interfere")
        .map((kind): Step => ({ kind })),
    },
  ),
  { minLength: 5, maxLength: 60 },
);

for (const { name, rules } of [
  { name: "whatever happens to the process", rules: [] },
  { name: "whatever happens to process and store", rules: faults },
]) {
  test(`every transaction restores to the database that it was, ${name}`, async () => {
    const check = async (script: Step[], pageSizeBytes: number, seed: number): Promise<void> => {
      const directory = mkdtempSync(join(tmpdir(), "replica-"));
      const random = randomFrom(seed);
      const clock = { nowMs: 0 };
      const store = new MemoryObjectStore({ now: () => clock.nowMs, random });
      const rig = new ReplicaRig({ store, directory, pageSizeBytes });
      try {
        rig.database.execute(
          "PRAGMA auto_vacuum = INCREMENTAL; CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB)",
        );
        for (const step of script) {
          store.faults.setRules(rules);
          await take(rig, step);
          clock.nowMs = rig.nowMs;
        }
        store.faults.setRules([]);
        await rig.sync();
        store.settle();
        await rig.verify(policy);
        await rig.maintain(policy);
        await rig.verify(policy);
      } finally {
        rig.close();
        rmSync(directory, { recursive: true, force: true });
      }
    };
    const pageSize = fc.constantFrom(512, 1_024, 4_096, 65_536);
    await fc.assert(fc.asyncProperty(steps, pageSize, fc.nat(), check), timeBox);
  });
}

async function take(rig: ReplicaRig, step: Step): Promise<void> {
  switch (step.kind) {
    case "execute":
      return rig.database.execute(step.sql);
    case "sync":
      return await rig.sync(step.crash);
    case "wait":
      rig.nowMs += step.ms;
      return;
    case "maintain":
      return await rig.maintain(policy);
    case "interfere":
      return rig.interfere("INSERT INTO t (body) VALUES (randomblob(50))");
    default:
      rig[step.kind]();
  }
}

function execute(sql: string): Step {
  return { kind: "execute", sql };
}

function crashingSync(crash: string): Step {
  return { kind: "sync", crash: crash as CrashPoint };
}

function wait(ms: number): Step {
  return { kind: "wait", ms };
}

/** A small generator of its own, so that a run repeats from what fast-check prints. */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}
