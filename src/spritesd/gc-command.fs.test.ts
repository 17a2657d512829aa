import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { Command } from "commander";
import { must } from "../base/assert.ts";
import { openOrganizationDatabase } from "../control/database.ts";
import { AuditRig, writeUnit } from "../storage/audit/testing/audit-rig.ts";
import { shipRegistry } from "../storage/audit/testing/sample-registry.ts";
import type { ObjectStore } from "../storage/object-store/object-store.ts";
import { openObjectStore } from "../storage/object-store/open-object-store.ts";
import { addGcCommand } from "./gc-command.ts";

const stray = "data/ff/000000ff-0123456789ab";

test("gc tells what leaked and what nobody has, deletes what it is told to, and keeps the rest", async (t) => {
  const { run, store, age } = await bucketWith(t, { registered: ["kept"] });
  await makeVolume(store, "kept");
  await makeVolume(store, "lost");
  await store.put(`sprites/kept/${stray}`, Buffer.alloc(4096));
  await store.put("elsewhere/thing", Buffer.from("x"));
  await age();
  const before = await keysOf(store);
  const dry = await run("--dry-run");
  assert.match(dry, /sprites\/kept {2}released, transaction \d+: in use 1 \(68.0 KiB\)/);
  assert.match(dry, new RegExp(`leaked {2}sprites/kept/${stray} {2}4.0 KiB`));
  assert.match(dry, /sprites\/lost .*\n {2}no registry names it \(--volumes deletes it\)/);
  assert.match(dry, /1 objects are not ours and stay, such as elsewhere\/thing/);
  assert.match(dry, /a dry run: nothing was deleted\nno problems\n$/);
  assert.deepEqual(await keysOf(store), before);
  assert.match(await run(), /deleted 1 \(4.0 KiB\)\nno problems\n$/);
  await run("--volumes", "--images");
  assert.deepEqual(
    await keysOf(store),
    before.filter((key) => !key.endsWith(stray) && !key.startsWith("sprites/lost/")),
  );
});

test("gc fails when something is missing, and says what", async (t) => {
  const { run, store } = await bucketWith(t, { registered: ["kept"] });
  await makeVolume(store, "kept");
  const segment = must(
    (await keysOf(store)).find((key) => key.includes("/data/")),
    "a segment",
  );
  await store.deleteMany([segment]);
  let output = "";
  await assert.rejects(
    run("--dry-run", (text: string) => (output += text)),
    /gc found 1 problems/,
  );
  assert.match(output, new RegExp(`PROBLEM {2}${segment} is missing`));
});

test("a disk that came just now stays, whatever the time is here", async (t) => {
  const { run, store } = await bucketWith(t, { registered: ["kept"] });
  await makeVolume(store, "lost");
  const before = await keysOf(store);
  const realNow = Date.now;
  t.mock.method(Date, "now", () => realNow() + 3 * 24 * 60 * 60 * 1000);
  await run("--volumes", "--images");
  assert.deepEqual(await keysOf(store), before);
});

test("without a readable registry the disks stay", async (t) => {
  const { run, store, age } = await bucketWith(t, { registered: [] });
  await makeVolume(store, "lost");
  await age();
  const chain = (await keysOf(store)).find((key) => key.startsWith("orgs/")) ?? "";
  await store.put(chain, Buffer.from("damaged"));
  await assert.rejects(run("--volumes"), /gc found 1 problems/);
  await store.deletePrefix("orgs/");
  assert.match(await run("--volumes"), /nobody can tell whose disks are whose/);
  assert.ok((await keysOf(store)).includes("sprites/lost/head.json"));
});

test("images stay while a server runs", async (t) => {
  const { run, store } = await bucketWith(t, { registered: [] });
  const record = {
    formatVersion: 1,
    server: "s1",
    incarnation: "i",
    machine: "m",
    isReleased: false,
  };
  const renew = (sequence: number): Promise<void> => {
    const content = JSON.stringify({ ...record, sequence, renewedAtMs: 0 });
    return store.put("servers/s1.json", Buffer.from(content));
  };
  await renew(1);
  const refused = assert.rejects(
    run("--images"),
    /server s1 runs and may be about to use an image/,
  );
  let isOver = false;
  const settled = refused.finally(() => (isOver = true));
  for (let sequence = 2; !isOver; sequence++) {
    await renew(sequence);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await settled;
});

test("what was set aside on this machine is listed with its age, size and reason", async (t) => {
  const { run, root } = await bucketWith(t, { registered: [] });
  const orphan = join(root, "data/cache/sprites/one/orphan-2026-11-20T101500.000Z");
  mkdirSync(join(orphan, "staging"), { recursive: true });
  writeFileSync(join(orphan, "staging/1"), Buffer.alloc(8192));
  writeFileSync(join(orphan, "orphan.json"), JSON.stringify({ reason: "somebody took it over" }));
  const twoDaysAgo = Date.now() / 1000 - 2.5 * 86_400;
  utimesSync(orphan, twoDaysAgo, twoDaysAgo);
  const output = await run("--data", join(root, "data"));
  assert.match(
    output,
    /set aside 2 days ago .*orphan-2026-11-20T101500.000Z {2}12.0 KiB: somebody took/,
  );
});

test("wrong settings are refused", async (t) => {
  const { run, root } = await bucketWith(t, { registered: [] });
  await assert.rejects(run("--grace", "1m"), /15m or more/);
  await assert.rejects(run("--grace", "soon"), /a time such as 15m/);
  await assert.rejects(run("--volume", "../x"), /a prefix such as/);
  await assert.rejects(run("--bucket", join(root, "nowhere")), /there is no bucket/);
});

async function bucketWith(t: TestContext, { registered }: { registered: string[] }) {
  const root = mkdtempSync(join(tmpdir(), "gc-command-"));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const bucket = join(root, "bucket");
  const store = await openObjectStore(bucket);
  await makeRegistry(store, join(root, "acme.db"), registered);
  const run = async (...options: (string | ((text: string) => void))[]): Promise<string> => {
    let output = "";
    const program = new Command("spritesd");
    const quiet = { writeErr: () => undefined, writeOut: () => undefined };
    program.exitOverride().configureOutput(quiet);
    const listeners = options.filter((option) => typeof option === "function");
    addGcCommand(program, (text) => {
      output += text;
      for (const listen of listeners) listen(text);
    });
    for (const command of program.commands) command.exitOverride().configureOutput(quiet);
    const words = options.filter((option) => typeof option === "string");
    const chosen = words.includes("--bucket") ? [] : ["--bucket", bucket];
    await program.parseAsync(["gc", ...chosen, ...words], { from: "user" });
    return output;
  };
  /** Everything in the bucket is two days old. */
  const age = async (): Promise<void> => {
    const seconds = Date.now() / 1000 - 2 * 86_400;
    for (const key of await keysOf(store)) utimesSync(join(bucket, key), seconds, seconds);
  };
  return { run, store, root, age };
}

async function makeRegistry(store: ObjectStore, path: string, sprites: string[]): Promise<void> {
  const registry = openOrganizationDatabase(path);
  const insert = registry.prepare(
    `INSERT INTO sprite (id, name, state, labels, environment, config, url_settings, image_hash,
       created_at_ms, updated_at_ms) VALUES (?, ?, 'ready', '', '', '', '', 'none', 0, 0)`,
  );
  for (const id of sprites) insert.run(id, id);
  registry.close();
  await shipRegistry(store, path);
}

/** A disk of one unit that is asleep. */
async function makeVolume(store: ObjectStore, name: string): Promise<void> {
  const rig = new AuditRig(store);
  const engine = await rig.open(name);
  await writeUnit(engine, 0, 1);
  await engine.close({ discard: false });
  await rig.dispose();
}

async function keysOf(store: ObjectStore): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list("")) keys.push(key);
  return keys;
}
