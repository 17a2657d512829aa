import assert from "node:assert/strict";
import { test } from "node:test";

import { SpriteError } from "./errors.ts";
import { assertHostLabelFits, spriteUrl } from "./names.ts";
import {
  encodeContinuationToken,
  parseSpriteListQuery,
  spriteCreateSchema,
  spriteUpdateSchema,
} from "./sprite.ts";
import { mergeUrlSettings } from "./sprite-config.ts";
import { formatOptionalTimestamp, formatTimestamp } from "./timestamp.ts";
import { parseJsonBody, validate } from "./validate.ts";

const refused = (pattern: RegExp) => (error: unknown) => {
  assert.ok(error instanceof SpriteError);
  assert.equal(error.code, "invalid_request");
  assert.match(error.message, pattern);
  return true;
};
const create = (body: unknown) => validate(spriteCreateSchema, body);

test("a create body needs only a name", () => {
  assert.deepEqual(create({ name: "a" }), {
    name: "a",
    from: null,
    config: null,
    environment: null,
    labels: [],
    durability: null,
    idleWindow: null,
    urlSettings: {},
    waitForCapacity: false,
  });
});

test("config keys come in snake case and in old JavaScript's camel case, unknown ones are dropped", () => {
  const old = create({ name: "a", config: { ramMB: 512, cpus: 2, region: "iad", storageGB: 9 } });
  assert.deepEqual(old.config, { ram_mb: 512, cpus: 2, region: "iad", storage_gb: 9 });
  const current = create({ name: "a", config: { ram_mb: 1, storage_gb: 2, gpu: "yes" }, x: 1 });
  assert.deepEqual(current.config, { ram_mb: 1, storage_gb: 2 });
  assert.throws(() => create({ name: "a", config: { cpus: 1.5 } }), refused(/^config\.cpus: /));
  assert.throws(() => create({ name: "a", config: { cpus: "2" } }), refused(/^config\.cpus: /));
});

test("null reads as absent", () => {
  const body = create({
    name: "a",
    config: null,
    environment: null,
    labels: null,
    url_settings: null,
  });
  assert.equal(body.environment, null);
  assert.deepEqual(create({ name: "a", config: { ram_mb: null } }).config, {});
  assert.equal(create({ name: "a", from: null }).from, null);
});

test("a fork names a sprite, and a checkpoint of it or none", () => {
  const from = (value: unknown) => create({ name: "a", from: value }).from;
  assert.deepEqual(from({ sprite: "b" }), { sprite: "b", checkpoint: null });
  assert.deepEqual(from({ sprite: "b", checkpoint: "v12", more: 1 }), {
    sprite: "b",
    checkpoint: "v12",
  });
  for (const value of ["b", ["b"], {}, { checkpoint: "v1" }, { sprite: "B" }]) {
    assert.throws(() => from(value), refused(/^from/));
  }
  for (const checkpoint of ["", "1", "v", "v1/..", "Current", "v1\n", 1]) {
    assert.throws(() => from({ sprite: "b", checkpoint }), refused(/^from\.checkpoint: /));
  }
});

test("names are DNS labels", () => {
  for (const name of ["a", "0", "a-b", "test-sprite-1736763000000", "x".repeat(63)]) {
    assert.equal(create({ name }).name, name);
  }
  const bad = [
    "",
    "-a",
    "a-",
    "A",
    "a_b",
    "a.b",
    "a/b",
    "..",
    "a\n",
    "\0",
    "ä",
    "x".repeat(64),
    5,
    null,
  ];
  for (const name of [...bad, undefined, {}]) {
    assert.throws(() => create({ name }), refused(/^name: /));
  }
});

test("a name must leave room for the organization in its DNS label", () => {
  assert.doesNotThrow(() => assertHostLabelFits("x".repeat(58), "b7k2"));
  assert.throws(() => assertHostLabelFits("x".repeat(59), "b7k2"), refused(/at most 58/));
  const url = spriteUrl({
    name: "my-box",
    organizationShortId: "b7k2",
    domain: "sprites.localhost",
  });
  assert.equal(url, "https://my-box-b7k2.sprites.localhost");
});

test("an environment is a map of strings that a process can be given", () => {
  const environment = JSON.parse('{"A":"1","B":"","__proto__":"p","a b":"2"}') as unknown;
  const parsed = create({ name: "a", environment }).environment;
  assert.deepEqual(Object.entries(parsed ?? {}), [
    ["A", "1"],
    ["B", ""],
    ["__proto__", "p"],
    ["a b", "2"],
  ]);
  const bad: unknown[] = [
    [],
    "A=1",
    { A: 1 },
    { A: null },
    { "": "x" },
    { "A=B": "x" },
    { A: "\0" },
  ];
  bad.push({ ["x".repeat(257)]: "" }, { A: "x".repeat(131_072) });
  bad.push(Object.fromEntries(Array.from({ length: 1001 }, (_, index) => [`V${index}`, ""])));
  bad.push(Object.fromEntries(Array.from({ length: 5 }, (_, i) => [`V${i}`, "x".repeat(120_000)])));
  for (const value of bad) {
    assert.throws(() => create({ name: "a", environment: value }), refused(/^environment: /));
  }
});

test("labels are a set in order", () => {
  assert.deepEqual(create({ name: "a", labels: ["b", "a", "b"] }).labels, ["b", "a"]);
  for (const labels of ["a", [1], [""], ["a\nb"], ["x".repeat(129)], Array(65).fill("a")]) {
    assert.throws(() => create({ name: "a", labels }), refused(/^labels/));
  }
});

test("an update keeps what it does not name", () => {
  const update = (body: unknown) => validate(spriteUpdateSchema, body);
  const unlabelled = { labels: [], urlSettings: null, durability: null, idleWindow: null };
  assert.deepEqual(update({ labels: [] }), unlabelled);
  assert.deepEqual(update({ clear_labels: true }), unlabelled);
  const durable = { ...unlabelled, labels: null, durability: "durable" };
  assert.deepEqual(update({ durability: "durable" }), durable);
  assert.throws(() => update({ durability: "often" }), refused(/^durability: expected local/));
  const { urlSettings } = update({ url_settings: { auth: "public", more: 1 } });
  assert.deepEqual(urlSettings, { auth: "public" });
  assert.deepEqual(
    mergeUrlSettings({ auth: "sprite", private_access: "admins" }, urlSettings ?? {}),
    { auth: "public", private_access: "admins" },
  );
  for (const body of [{}, [], "x", { url_settings: {} }, { clear_labels: false }, { other: 1 }]) {
    assert.throws(() => update(body), refused(/./));
  }
  assert.throws(() => update({ url_settings: { auth: "all" } }), refused(/^url_settings\.auth: /));
});

test("a list's size is clamped, never refused for being out of range", () => {
  const parse = (query: string) => parseSpriteListQuery(new URLSearchParams(query));
  assert.equal(parse("").pageSize, 50);
  assert.equal(parse("max_results=100").pageSize, 50);
  assert.equal(parse("max_results=0").pageSize, 1);
  assert.equal(parse("max_results=-7").pageSize, 1);
  assert.equal(parse("max_results=7").pageSize, 7);
  assert.throws(() => parse("max_results=many"), refused(/^max_results: /));
  const token = encodeContinuationToken("box-9");
  assert.equal(parse(`continuation_token=${token}`).after, "box-9");
  assert.equal(parse("continuation_token=").after, null);
  for (const bad of ["x", "Ojo", encodeContinuationToken("../x"), "y".repeat(10_000)]) {
    assert.throws(() => parse(`continuation_token=${bad}`), refused(/^continuation_token: /));
  }
});

test("times have three fractional digits and are never an empty text", () => {
  assert.equal(formatTimestamp(0), "1970-01-01T00:00:00.000Z");
  assert.equal(formatTimestamp(1_736_763_000_120), "2025-01-13T10:10:00.120Z");
  assert.equal(formatOptionalTimestamp(null), null);
});

test("a body is UTF-8 JSON or empty", () => {
  assert.deepEqual(parseJsonBody(Buffer.from("")), {});
  assert.deepEqual(parseJsonBody(Buffer.from(' {"a":1}\n')), { a: 1 });
  assert.throws(() => parseJsonBody(Buffer.from("{")), refused(/JSON/));
  assert.throws(() => parseJsonBody(Buffer.from([0x22, 0xff, 0x22])), refused(/UTF-8/));
  assert.throws(() => validate(spriteCreateSchema, parseJsonBody(Buffer.from("[".repeat(1000)))));
});
