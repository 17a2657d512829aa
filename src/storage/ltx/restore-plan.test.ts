import assert from "node:assert/strict";
import fc from "fast-check";
import { describe, it } from "node:test";
import { planRestore, type ListedLtx, type RestoreTarget } from "./restore-plan.ts";

/** "level:min-max", and the time of creation is the last transaction times 10 unless "@time" follows. */
function listed(...texts: string[]): ListedLtx[] {
  return texts.map((text) => {
    const [, level, min, max, time] = /^(\d):(\d+)-(\d+)(?:@(\d+))?$/.exec(text) ?? [];
    return {
      level: Number(level),
      minTxid: Number(min),
      maxTxid: Number(max),
      sizeBytes: 1,
      createdAtMs: time === undefined ? Number(max) * 10 : Number(time),
    };
  });
}

function plan(files: ListedLtx[], target?: RestoreTarget): string {
  const result = planRestore(files, target);
  if (result.kind === "nothing") return "nothing";
  if (result.kind === "gap") return `gap ${result.reachedTxid}..${result.wantedTxid}`;
  return result.files.map((file) => `${file.level}:${file.minTxid}-${file.maxTxid}`).join(" ");
}

describe("restore plan", () => {
  it("begins with the newest snapshot and goes on with whatever reaches furthest", () => {
    const files = listed(
      "9:1-4",
      "9:1-10",
      "0:9-9",
      "0:10-10",
      "0:11-11",
      "0:12-12",
      "1:9-12",
      "0:13-13",
    );
    assert.equal(plan(files), "9:1-10 1:9-12 0:13-13");
  });

  it("needs no snapshot when the first file is one", () => {
    assert.equal(plan(listed("0:1-1", "0:2-2", "1:1-2", "0:3-3")), "1:1-2 0:3-3");
    // A file that begins at 1 has every page, so an older snapshot before it would be read in vain.
    assert.equal(plan(listed("9:1-5", "3:1-9", "0:10-10")), "3:1-9 0:10-10");
  });

  it("prefers, of those that reach as far, the one that begins first, of a higher level, older", () => {
    assert.equal(plan(listed("0:1-1", "2:3-4", "1:2-4", "2:2-4")), "0:1-1 2:2-4");
    const twins = listed("0:1-1", "1:2-4@50", "1:2-4@40");
    assert.deepEqual(planRestore(twins), { kind: "plan", files: [twins[0], twins[2]], txid: 4 });
  });

  it("names gaps instead of stopping before them", () => {
    assert.equal(plan(listed("9:1-3", "0:5-5")), "gap 3..5");
    assert.equal(plan(listed("0:2-2")), "gap 0..2");
    assert.equal(plan(listed("9:1-3", "0:4-4", "1:6-9", "0:12-12")), "gap 4..12");
    assert.equal(plan([]), "nothing");
  });

  it("stops at a transaction, which has to be reachable exactly", () => {
    const files = listed("9:1-3", "0:4-4", "0:5-5", "1:4-6", "0:8-8");
    assert.equal(plan(files, { kind: "txid", txid: 5 }), "9:1-3 0:4-4 0:5-5");
    assert.equal(plan(files, { kind: "txid", txid: 6 }), "9:1-3 1:4-6");
    assert.equal(plan(files, { kind: "txid", txid: 7 }), "gap 6..7");
    assert.equal(plan(files, { kind: "txid", txid: 2 }), "nothing");
  });

  it("stops at a time, at the newest state of before", () => {
    const files = listed("9:1-3", "0:4-4", "1:4-6", "0:9-9@55");
    assert.equal(plan(files, { kind: "time", timeMs: 59 }), "9:1-3 0:4-4");
    assert.equal(plan(files, { kind: "time", timeMs: 60 }), "9:1-3 1:4-6");
    assert.equal(plan(files, { kind: "time", timeMs: 29 }), "nothing");
    assert.equal(plan(listed("0:2-2"), { kind: "time", timeMs: 100 }), "gap 0..2");
  });

  it("is always contiguous, and exists whenever the transactions do", () => {
    const file = fc
      .record({ level: fc.nat(3), minTxid: fc.integer({ min: 1, max: 30 }), length: fc.nat(8) })
      .map(({ level, minTxid, length }) => ({
        ...{ level, minTxid, maxTxid: minTxid + length, sizeBytes: 1, createdAtMs: 0 },
      }));
    fc.assert(
      fc.property(fc.array(file, { minLength: 1, maxLength: 40 }), (files) => {
        // What can be reached, step by step and without any choice.
        let reached = 0;
        for (let before = -1; before !== reached;) {
          before = reached;
          for (const { minTxid, maxTxid } of files) {
            if (minTxid <= reached + 1) reached = Math.max(reached, maxTxid);
          }
        }
        const end = Math.max(...files.map(({ maxTxid }) => maxTxid));
        const result = planRestore(files);
        if (reached < end) {
          assert.deepEqual(result, { kind: "gap", reachedTxid: reached, wantedTxid: end });
          return;
        }
        assert.equal(result.kind, "plan");
        let at = 0;
        for (const { minTxid, maxTxid } of (result as { files: ListedLtx[] }).files) {
          assert.ok(minTxid <= at + 1 && maxTxid > at);
          at = maxTxid;
        }
        assert.equal(at, end);
      }),
    );
  });
});
