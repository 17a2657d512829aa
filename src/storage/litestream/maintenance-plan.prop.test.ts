import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { planRestore } from "../ltx/restore-plan.ts";
import type { ChainFile, MaintenancePolicy } from "./database-replica.ts";
import { isSnapshotDue, planDeletion, planMerge } from "./maintenance-plan.ts";
import { databasePolicy, mapPolicy } from "./policies.ts";

const timeBox = { interruptAfterTimeLimit: 3_000, markInterruptAsFailure: false, numRuns: 5_000 };
const mb = 1024 * 1024;

const quickPolicy: MaintenancePolicy = {
  levels: [
    { everyMs: 3_000, filesMax: 3 },
    { everyMs: 9_000, filesMax: 3 },
  ],
  snapshot: { everyMs: 20_000, outweighsBy: 2 },
  retentionMs: 15_000,
  levelZeroRetentionMs: 4_000,
};

test("deletion leaves every state of the retention within reach, whatever came before", () => {
  const pauses = fc.array(fc.integer({ min: 0, max: 6_000 }), { minLength: 1, maxLength: 80 });
  const check = (pausesMs: number[], sizeSeed: number): void => {
    const chain = new ModelChain(quickPolicy);
    for (const [index, pauseMs] of pausesMs.entries()) {
      chain.commit(pauseMs, 1_000 + ((sizeSeed * (index + 7)) % mb));
      chain.assertReachable();
    }
  };
  fc.assert(fc.property(pauses, fc.nat(1_000), check), timeBox);
});

test("what a reader has planned to read stays for the grace", () => {
  const pauses = fc.array(fc.integer({ min: 0, max: 9_000 }), { minLength: 1, maxLength: 80 });
  const check = (pausesMs: number[]): void => {
    const chain = new ModelChain(quickPolicy);
    const readers: { plan: readonly ChainFile[]; untilMs: number }[] = [];
    for (const pauseMs of pausesMs) {
      if (pauseMs % 3 === 0) chain.pass(pauseMs);
      else chain.commit(pauseMs, 50_000);
      if (chain.files.length === 0) continue;
      const planned = planRestore(chain.files);
      assert.equal(planned.kind, "plan");
      const plan = planned.kind === "plan" ? planned.files : [];
      readers.push({ plan, untilMs: chain.nowMs + quickPolicy.levelZeroRetentionMs });
      for (const reader of readers.filter(({ untilMs }) => chain.nowMs < untilMs)) {
        for (const file of reader.plan) assert.ok(chain.files.includes(file), JSON.stringify(file));
      }
    }
  };
  fc.assert(fc.property(pauses, check), timeBox);
});

test("a map that is cut every second for hours opens from few files, and little more than its size", () => {
  const chain = new ModelChain(mapPolicy, 15 * mb);
  let filesMax = 0;
  let bytesMax = 0;
  for (let second = 0; second < 6_000; second += 1) {
    chain.commit(1_000, 4_000);
    const plan = planRestore(chain.files);
    assert.equal(plan.kind, "plan");
    if (plan.kind !== "plan") continue;
    filesMax = Math.max(filesMax, plan.files.length);
    bytesMax = Math.max(
      bytesMax,
      plan.files.reduce((sum, file) => sum + file.sizeBytes, 0),
    );
  }
  assert.ok(filesMax <= 60, `${filesMax} files`);
  assert.ok(bytesMax <= 2.2 * 15 * mb, `${bytesMax} bytes`);
  assert.ok(chain.files.length < 1_200, `${chain.files.length} objects are kept`);
});

test("a database that is left alone comes to rest", () => {
  const chain = new ModelChain(databasePolicy);
  for (let second = 0; second < 300; second += 1) chain.commit(1_000, 500);
  for (let hour = 0; hour < 72; hour += 1) chain.pass(3_600_000);
  const { files, nowMs } = chain;
  assert.equal(planMerge(files, databasePolicy, nowMs + 1e9), null);
  const txid = Math.max(...files.map((file) => file.maxTxid));
  assert.equal(isSnapshotDue(files, databasePolicy, { txid, nowMs: nowMs + 1e9 }), false);
  assert.deepEqual(planDeletion(files, databasePolicy, nowMs + 1e9), []);
  assert.ok(files.length <= 6, `${files.length} files are left`);
});

test("the newest file of each level stays", () => {
  const chain = new ModelChain(quickPolicy);
  for (let round = 0; round < 100; round += 1) chain.commit(1_000, 500);
  const levels = new Set(chain.files.map((file) => file.level));
  chain.pass(1e9);
  assert.deepEqual(new Set(chain.files.map((file) => file.level)), levels);
});

/** Does with a list of files what `maintainChain` does with a bucket. */
class ModelChain {
  files: ChainFile[] = [];
  nowMs = 1_000_000;
  readonly #policy: MaintenancePolicy;
  readonly #databaseSizeBytes: number;
  readonly #commits: { txid: number; atMs: number }[] = [];

  constructor(policy: MaintenancePolicy, databaseSizeBytes = 10_000) {
    this.#policy = policy;
    this.#databaseSizeBytes = databaseSizeBytes;
  }

  commit(pauseMs: number, sizeBytes: number): void {
    this.nowMs += pauseMs;
    const txid = (this.#commits.at(-1)?.txid ?? 0) + 1;
    this.#commits.push({ txid, atMs: this.nowMs });
    const size = txid === 1 ? this.#databaseSizeBytes : sizeBytes;
    this.#add({ level: 0, minTxid: txid, maxTxid: txid, sizeBytes: size });
    this.#maintain();
  }

  pass(ms: number): void {
    this.nowMs += ms;
    this.#maintain();
  }

  /** Every state that was the newest at some time within the retention can be restored as of that time ... */
  assertReachable(): void {
    const { retentionMs, levelZeroRetentionMs } = this.#policy;
    const commits = this.#commits;
    assert.equal(planRestore(this.files).kind, "plan");
    for (const [index, { txid, atMs }] of commits.entries()) {
      const replacedAtMs = commits[index + 1]?.atMs ?? Infinity;
      if (replacedAtMs <= this.nowMs - retentionMs || replacedAtMs === atMs) continue;
      const plan = planRestore(this.files, { kind: "time", timeMs: atMs });
      assert.ok(plan.kind === "plan" && plan.txid <= txid, `as of transaction ${txid}`);
      // ... and each single transaction for as long as level 0 is kept.
      if (replacedAtMs <= this.nowMs - levelZeroRetentionMs) continue;
      const exact = planRestore(this.files, { kind: "txid", txid });
      assert.equal(exact.kind, "plan", `transaction ${txid}`);
    }
  }

  #maintain(): void {
    const { nowMs } = this;
    for (const _ of this.#policy.levels) {
      const merge = planMerge(this.files, this.#policy, nowMs);
      if (merge === null) break;
      const minTxid = merge.inputs[0]?.minTxid ?? 0;
      const maxTxid = merge.inputs.at(-1)?.maxTxid ?? 0;
      // As if every change were to other pages: the worst case.
      const sizeBytes = merge.inputs.reduce((sum, file) => sum + file.sizeBytes, 0);
      this.#add({ level: merge.level, minTxid, maxTxid, sizeBytes });
    }
    const txid = this.#commits.at(-1)?.txid ?? 0;
    if (txid > 0 && isSnapshotDue(this.files, this.#policy, { txid, nowMs })) {
      this.#add({ level: 9, minTxid: 1, maxTxid: txid, sizeBytes: this.#databaseSizeBytes });
    }
    const deleted = new Set(planDeletion(this.files, this.#policy, nowMs));
    this.files = this.files.filter((file) => !deleted.has(file));
  }

  #add(file: Omit<ChainFile, "createdAtMs">): void {
    const createdAtMs = this.#commits[file.maxTxid - 1]?.atMs ?? 0;
    this.files.push({ ...file, createdAtMs, storedAtMs: this.nowMs });
  }
}
