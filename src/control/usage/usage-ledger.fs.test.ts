import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { noUsage, type UsageReport } from "../../contract/usage-report.ts";
import { parseUsageQuery, type UsageQuery } from "../../contract/usage.ts";
import { Organization } from "../organization.ts";
import { dayMs, hourMs } from "./hours.ts";
import { answerUsage } from "./usage-answer.ts";

const startMs = Date.UTC(2026, 9, 1);
const noonMs = startMs + 12 * hourMs;
let directory: string;
let organization: Organization;
const box = { id: "s-1", name: "box", labels: ["ci", "team a"] };

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "usage-ledger-"));
  const record = { slug: "acme", id: "o-1", shortId: "ab12" };
  organization = Organization.create(join(directory, "acme.db"), record, startMs);
});
afterEach(() => {
  organization.close();
  rmSync(directory, { recursive: true, force: true });
});

function report(given: Partial<UsageReport["counters"]>, more: Partial<UsageReport> = {}) {
  return {
    ...{ meterId: "0000000000000001", storedBytes: null, cachedBytes: null, atMs: noonMs },
    counters: { ...noUsage(), ...given },
    ...more,
  };
}

function note(given: UsageReport, nowMs: number, sprite = box, isGone = false): void {
  organization.usage.record([{ sprite, report: given, isGone }], nowMs);
}

function ask(query: Record<string, string>, nowMs: number) {
  const parsed: UsageQuery = parseUsageQuery(new URLSearchParams(query), nowMs);
  return answerUsage(organization, parsed, nowMs);
}

const october = { from: "2026-10-01", to: "2026-11-01" };
const laterMs = Date.UTC(2026, 10, 1);

test("a report counts once, however often it comes, and an older one takes nothing back", () => {
  const first = report({ runningMs: 60_000, processorMs: 500 }, { atMs: startMs + 60_000 });
  const second = report({ runningMs: 90_000, processorMs: 700 }, { atMs: startMs + 90_000 });
  for (const each of [first, first, second, first, second]) note(each, each.atMs);
  const { total } = ask(october, laterMs);
  assert.equal(total.running_seconds, 90);
  assert.equal(total.cpu_seconds, 0.7);
});

test("a meter that begins anew is added to the one before", () => {
  note(report({ runningMs: 60_000 }), noonMs);
  note(report({ runningMs: 5_000 }, { meterId: "0000000000000002" }), noonMs);
  note(report({ runningMs: 61_000 }), noonMs);
  assert.equal(ask(october, laterMs).total.running_seconds, 66);
});

test("usage lies in the hours in which it was used, whatever the clock does", () => {
  const atMs = startMs + 10 * hourMs + 900_000;
  note(report({ runningMs: 30 * 60_000, sentBytes: 4_000 }, { atMs }), atMs);
  const byHour = ask({ ...october, by: "hour", from: "2026-10-01" }, atMs + 1);
  assert.deepEqual(
    byHour.usage.map(({ start, running_seconds, egress_bytes }) => [
      start,
      running_seconds,
      egress_bytes,
    ]),
    [
      ["2026-10-01T09:00:00.000Z", 900, 2_000],
      ["2026-10-01T10:00:00.000Z", 900, 2_000],
    ],
  );
  // An agent's clock that is ahead of the server's puts nothing into the future.
  note(report({ runningMs: 31 * 60_000 }, { atMs: atMs + 90 * dayMs }), atMs);
  assert.equal(ask(october, atMs + 1).total.running_seconds, 31 * 60);
});

test("labels count as they were at the time, and a sprite under each of its own", () => {
  note(report({ runningMs: 10_000 }), noonMs);
  note(report({ runningMs: 30_000 }), noonMs, { ...box, labels: [] });
  const rows = ask({ ...october, by: "label" }, laterMs).usage;
  assert.deepEqual(
    rows.map(({ label, running_seconds }) => [label, running_seconds]),
    [
      [null, 20],
      ["ci", 10],
      ["team a", 10],
    ],
  );
  assert.equal(ask({ ...october, label: "ci" }, laterMs).total.running_seconds, 10);
});

test("what lies in the bucket counts for as long as it lies there, with no report in between", () => {
  note(report({}, { storedBytes: 1_000 }), startMs);
  const tenDays = ask({ from: "2026-10-01", to: "2026-10-11" }, laterMs).total;
  assert.equal(tenDays.storage_byte_seconds, 1_000 * 10 * 86_400);
  assert.equal(tenDays.running_seconds, 0);
  const byDay = ask({ from: "2026-10-01", to: "2026-10-04", by: "day" }, laterMs).usage;
  assert.deepEqual(
    byDay.map((row) => row.storage_byte_seconds),
    [1_000 * 86_400, 1_000 * 86_400, 1_000 * 86_400],
  );
  // Up to now, and not beyond it.
  const now = ask({ from: "2026-10-01", to: "2026-10-04" }, startMs + hourMs).total;
  assert.equal(now.storage_byte_seconds, 1_000 * 3_600);
});

test("a sprite that writes all the time has a row an hour, and the sum stays exact", () => {
  let byteSeconds = 0;
  for (let minute = 0; minute < 180; minute += 1) {
    note(report({}, { storedBytes: 1_000 + minute }), startMs + minute * 60_000);
    byteSeconds += (1_000 + minute) * 60;
  }
  const rows = [...organization.usage.spans.storage({ fromMs: startMs, toMs: laterMs })];
  assert.ok(rows.length <= 5, `${rows.length} rows`);
  const { total } = ask(october, startMs + 180 * 60_000);
  assert.ok(Math.abs(total.storage_byte_seconds - byteSeconds) < 1e-3);
});

test("a clock that is set back takes back what it had counted ahead", () => {
  note(report({}, { storedBytes: 1_000 }), startMs);
  const aheadMs = startMs + 300 * dayMs;
  note(report({}, { storedBytes: 2_000 }), aheadMs);
  note(report({}, { storedBytes: 3_000 }), startMs + hourMs);
  const { total } = ask({ from: "2026-10-01", to: "2026-10-02" }, startMs + 2 * hourMs);
  assert.equal(total.storage_byte_seconds, 1_000 * 3_600 + 3_000 * 3_600);
});

test("a sprite that is destroyed keeps its usage and its name, and costs nothing more", () => {
  note(report({ runningMs: 10_000 }, { storedBytes: 500 }), noonMs);
  organization.usage.storage.end(box.id, noonMs + hourMs);
  note(report({ runningMs: 12_000 }, { storedBytes: 900 }), noonMs + hourMs, box, true);
  organization.usage.forgetMeters(box.id);
  organization.usage.tidy(noonMs + 2 * hourMs);
  const { usage } = ask(october, laterMs);
  assert.deepEqual(
    usage.map(({ sprite, running_seconds, storage_byte_seconds }) => [
      sprite,
      running_seconds,
      storage_byte_seconds,
    ]),
    [["box", 12, 500 * 3_600]],
  );
});

test("old hours become days, and what is older than the retention goes; sums stay", () => {
  for (let hour = 0; hour < 48; hour += 1) {
    const atMs = startMs + (hour + 1) * hourMs;
    note(report({ runningMs: (hour + 1) * hourMs }, { storedBytes: 10 + hour, atMs }), atMs);
  }
  organization.usage.storage.end(box.id, startMs + 49 * hourMs);
  const before = ask(october, laterMs).total;
  const afterMs = startMs + 60 * dayMs;
  organization.usage.tidy(afterMs);
  assert.deepEqual(ask(october, afterMs).total, before);
  const days = ask({ ...october, by: "day" }, afterMs).usage;
  assert.deepEqual(
    days.map((row) => row.running_seconds),
    [86_400, 86_400, 0],
  );
  organization.usage.tidy(startMs + 500 * dayMs);
  assert.deepEqual(ask(october, afterMs).usage, []);
});

test("any range is the sum of its parts", () => {
  const atMs = startMs + 5 * hourMs;
  note(report({ runningMs: 3 * hourMs, memoryByteSeconds: 1e15 }, { storedBytes: 7, atMs }), atMs);
  const whole = ask({ from: "2026-10-01", to: "2026-10-02" }, laterMs).total;
  const cuts = ["2026-10-01", "2026-10-01T03:17:21Z", "2026-10-01T04:00:00.001Z", "2026-10-02"];
  const parts = cuts.slice(1).map((to, index) => ask({ from: cuts[index] ?? "", to }, laterMs));
  const sum = (read: (row: typeof whole) => number): number =>
    parts.reduce((total, { total: part }) => total + read(part), 0);
  for (const name of ["running_seconds", "memory_byte_seconds", "storage_byte_seconds"] as const) {
    const [expected, found] = [whole[name], sum((row) => row[name])];
    assert.ok(Math.abs(found - expected) <= expected * 1e-5, `${name}: ${found}, ${expected}`);
  }
});

test("rows come in pages, and a name that was used twice is two sprites", () => {
  for (const id of ["s-1", "s-2", "s-3"]) {
    note(report({ runningMs: 1_000 }), noonMs, { ...box, id, name: id === "s-3" ? "c" : "box" });
  }
  const first = ask({ ...october, max_results: "2" }, laterMs);
  assert.deepEqual(
    first.usage.map((row) => row.sprite_id),
    ["s-1", "s-2"],
  );
  assert.equal(first.has_more, true);
  const token = first.next_continuation_token ?? "";
  const second = ask({ ...october, max_results: "2", continuation_token: token }, laterMs);
  assert.deepEqual(
    second.usage.map((row) => row.sprite_id),
    ["s-3"],
  );
  assert.equal(second.total.running_seconds, 3);
  assert.equal(ask({ ...october, sprite: "box" }, laterMs).usage.length, 2);
});
