import assert from "node:assert/strict";
import { noPolicy } from "../contract/policy.ts";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

import Database from "better-sqlite3";

import { openOrganizationDatabase } from "./database.ts";
import { Organization } from "./organization.ts";
import type { SpriteRecord } from "./sprite-record.ts";

const directory = mkdtempSync(join(tmpdir(), "registry-test-"));
after(() => rmSync(directory, { recursive: true, force: true }));

let count = 0;
function newOrganization(): Organization {
  count += 1;
  const record = { slug: "acme", id: "id", shortId: "b7k2" };
  return Organization.create(join(directory, `${count}.db`), record, 1);
}

function sprite(name: string, changes: Partial<SpriteRecord> = {}): SpriteRecord {
  return {
    id: `id-${name}`,
    name,
    state: "ready",
    labels: ["a"],
    environment: { A: "1", ["__proto__"]: "x" },
    config: { cpus: 2 },
    urlSettings: { auth: "sprite" },
    imageHash: "hash",
    durability: "local",
    policy: noPolicy(),
    idleWindow: "off",
    slept: null,
    woke: null,
    forkedFrom: null,
    createdAtMs: 1,
    updatedAtMs: 2,
    lastRunningAtMs: null,
    lastWarmingAtMs: 4,
    ...changes,
  };
}

test("a sprite is read as it was written", () => {
  const organization = newOrganization();
  assert.ok(organization.insertSprite(sprite("box")));
  assert.deepEqual(organization.spriteByName("box"), sprite("box"));
  organization.lifeNotes.note("id-box", "running", { atMs: 77, because: "GET exec" });
  organization.lifeNotes.note("id-box", "warm", { atMs: 78, because: "nothing went on" });
  const urlSettings = { auth: "public" as const };
  const change = {
    labels: [],
    urlSettings,
    durability: "durable" as const,
    updatedAtMs: 9,
    idleWindow: 5_000,
  };
  organization.updateSprite("id-box", change);
  const changed = {
    ...change,
    lastRunningAtMs: 77,
    lastWarmingAtMs: 78,
    slept: { atMs: 78, because: "nothing went on" },
    woke: { atMs: 77, because: "GET exec" },
  };
  assert.deepEqual(organization.spriteByName("box"), sprite("box", changed));
  organization.close();
});

test("a name belongs to one sprite until that one is being destroyed", () => {
  const organization = newOrganization();
  assert.ok(organization.insertSprite(sprite("box", { id: "one", state: "creating" })));
  assert.ok(!organization.insertSprite(sprite("box", { id: "two" })));
  assert.ok(organization.setSpriteReady("one"));
  assert.ok(organization.setSpriteDestroying("one"));
  assert.ok(!organization.setSpriteDestroying("one"));
  assert.ok(!organization.setSpriteReady("one"));
  assert.equal(organization.spriteByName("box"), null);
  assert.ok(organization.insertSprite(sprite("box", { id: "two" })));
  assert.equal(organization.spriteByName("box")?.id, "two");
  assert.deepEqual(organization.unfinishedSpriteIds(), ["one"]);
  organization.deleteSprite("one");
  assert.deepEqual(organization.unfinishedSpriteIds(), []);
  assert.equal(organization.spriteByName("box")?.id, "two");
  organization.close();
});

test("pages follow the names, and a prefix is literal text", () => {
  const organization = newOrganization();
  for (const name of ["b-2", "a", "b-1", "b-3", "c"]) organization.insertSprite(sprite(name));
  const names = (prefix: string, after: string | null, limit: number) =>
    organization.listSprites({ prefix, after, labels: [], limit }).map((row) => row.name);
  assert.deepEqual(names("", null, 3), ["a", "b-1", "b-2"]);
  assert.deepEqual(names("", "b-2", 3), ["b-3", "c"]);
  assert.deepEqual(names("b-", "b-1", 9), ["b-2", "b-3"]);
  assert.deepEqual(names("%", null, 9), []);
  assert.deepEqual(names("_", null, 9), []);
  organization.close();
});

test("a second creator gets the first one's organization", () => {
  const path = join(directory, "race.db");
  const first = Organization.create(path, { slug: "acme", id: "1", shortId: "aaaa" }, 1);
  const second = Organization.create(path, { slug: "acme", id: "2", shortId: "bbbb" }, 2);
  assert.deepEqual(second.record, first.record);
  first.close();
  second.close();
});

test("a file that is being made has no organization yet", () => {
  const path = join(directory, "empty.db");
  openOrganizationDatabase(path).close();
  assert.equal(Organization.open(path), null);
});

test("a database of a newer version, or no database at all, is refused", () => {
  const path = join(directory, "newer.db");
  openOrganizationDatabase(path).close();
  const database = new Database(path);
  database.pragma("user_version = 99");
  database.close();
  assert.throws(() => Organization.open(path), /open organization database/);
});
