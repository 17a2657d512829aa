import assert from "node:assert/strict";
import { test } from "node:test";

import {
  checkpointEvent,
  checkpointList,
  checkpointObject,
  parseCheckpointCreate,
  parseCheckpointListQuery,
  type CheckpointSource,
} from "./checkpoint.ts";
import { encodeNdjsonLine } from "./ndjson.ts";
import { parseJsonBody } from "./validate.ts";

function record(id: string, createTimeMs: number, history: string[] = []): CheckpointSource {
  const isAuto = id.startsWith("auto-");
  const sourceId = history[0] ?? null;
  return { id, createTimeMs, comment: "", isAuto, sourceId, history, health: "" };
}

const records = [
  record("v1", 1000),
  record("v2", 2000, ["v1"]),
  record("auto-1", 3000, ["v2", "v1"]),
  record("v9", 4000, ["v1"]),
  record("v10", 4000, ["v9", "v1"]),
];
const list = (query: string) =>
  checkpointList(records, parseCheckpointListQuery(new URLSearchParams(query)));
const ids = (query: string) => list(query).map((checkpoint) => checkpoint.id);

test("a checkpoint's wire shape", () => {
  assert.deepEqual(checkpointObject(record("v2", 0, ["v1"])), {
    id: "v2",
    create_time: "1970-01-01T00:00:00.000Z",
    comment: "",
    history: ["v1"],
    is_auto: false,
    source_id: "v1",
    health: "",
  });
  assert.ok(!("source_id" in checkpointObject(record("v1", 0))));
});

test("size, unique bytes and whether it is in the bucket stand beside the contract's fields", () => {
  const measured = { ...record("v2", 0), sizeBytes: 8192, uniqueBytes: 0, isSynced: false };
  assert.partialDeepStrictEqual(checkpointObject(measured), {
    id: "v2",
    size_bytes: 8192,
    unique_bytes: 0,
    synced: false,
  });
});

test("lists are newest first, hide automatic ones, and follow a lineage", () => {
  assert.deepEqual(ids(""), ["v10", "v9", "v2", "v1"]);
  assert.deepEqual(ids("includeAuto=true"), ["v10", "v9", "auto-1", "v2", "v1"]);
  assert.deepEqual(ids("includeAuto=false"), ["v10", "v9", "v2", "v1"]);
  assert.deepEqual(ids("history=v10"), ["v10", "v9", "v1"]);
  assert.deepEqual(ids("history=auto-1&includeAuto=1"), ["auto-1", "v2", "v1"]);
  assert.deepEqual(ids("history=v77"), []);
});

test("a create body may be empty", () => {
  const parse = (text: string) => parseCheckpointCreate(parseJsonBody(Buffer.from(text)));
  assert.deepEqual(parse(""), { comment: "" });
  assert.deepEqual(parse('{"comment":null}'), { comment: "" });
  assert.deepEqual(parse('{"comment":"before"}'), { comment: "before" });
  const long = "x".repeat(4097);
  for (const text of ['{"comment":7}', "[]", "7", "null", `{"comment":"${long}"}`]) {
    assert.throws(() => parse(text), { code: "invalid_request" });
  }
});

test("stream events", () => {
  const time = "1970-01-01T00:00:00.000Z";
  assert.deepEqual(checkpointEvent.complete("done", 0), { type: "complete", data: "done", time });
  assert.deepEqual(checkpointEvent.error("bad", 0), { type: "error", error: "bad", time });
});

test("an NDJSON line is one line below 64 KiB, whatever it holds", () => {
  assert.equal(encodeNdjsonLine({ a: "x\ny", b: 1 }), '{"a":"x\\ny","b":1}\n');
  for (const text of ["\n", "\u0001", "ü", "😀", "\ud800"]) {
    const line = encodeNdjsonLine({ type: "error", error: text.repeat(100_000), more: [1] });
    assert.ok(Buffer.byteLength(line) < 64 * 1024);
    assert.equal(line.indexOf("\n"), line.length - 1);
    const parsed = JSON.parse(line) as { type: string; error: string };
    assert.equal(parsed.type, "error");
    assert.ok(parsed.error.length > 1000);
  }
});
