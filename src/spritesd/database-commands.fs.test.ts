import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { Command } from "commander";
import { sampleChain } from "../storage/litestream/testing/sample-chain.ts";
import { openObjectStore } from "../storage/object-store/open-object-store.ts";
import { addDatabaseCommands } from "./database-commands.ts";

const beganAtMs = Date.parse("2026-11-24T09:00:00Z");

test("a database is restored as of now, a transaction, and a time", async (t) => {
  const { run, states, file } = await bucketWithThreeTransactions(t);
  const from = ["--from", "orgs/acme.db"];
  const wanted: Array<[string[], number]> = [
    [[], 3],
    [["--txid", "1"], 1],
    [["--txid", "2"], 2],
    [["--time", "2026-11-24T09:02:59Z"], 2],
    [["--time", "2026-11-24T10:01:00.5+01:00"], 1],
  ];
  for (const [options, txid] of wanted) {
    const to = file(`as-of-${options.join("").replaceAll(/\W/g, "")}.db`);
    const output = await run("restore", ...from, ...options, "--to", to);
    assert.match(output, new RegExp(`^restored orgs/acme.db as of transaction ${txid}, 2026-`));
    assert.deepEqual(new Uint8Array(readFileSync(to)), states[txid - 1], options.join(" "));
  }
});

test("a restore that cannot be says why, and leaves no file", async (t) => {
  const { run, file } = await bucketWithThreeTransactions(t);
  const to = file("restored.db");
  const restore = (...options: string[]): Promise<string> => run("restore", "--to", to, ...options);
  await assert.rejects(
    restore("--from", "orgs/acme.db", "--txid", "9"),
    /does not have transaction 9/,
  );
  const early = restore("--from", "orgs/acme.db", "--time", "2026-11-24T08:00:00Z");
  await assert.rejects(early, /does not have a state of 2026-11-24T08:00:00.000Z/);
  await assert.rejects(restore("--from", "orgs/none.db"), /the bucket has no orgs\/none.db/);
  await assert.rejects(restore(), /--from/);
  const both = ["--txid", "1", "--time", "2026-11-24T08:00:00Z"];
  await assert.rejects(restore("--from", "orgs/acme.db", ...both), /not both/);
  await assert.rejects(restore("--from", "orgs/acme.db", "--txid", "0"), /a number from 1 on/);
  await assert.rejects(restore("--from", "orgs/acme.db", "--time", "yesterday"), /time and zone/);
  const local = restore("--from", "orgs/acme.db", "--time", "2026-11-24T09:00:00");
  await assert.rejects(local, /time and zone/);
  assert.equal(existsSync(to), false);
  writeFileSync(to, "precious");
  await assert.rejects(restore("--from", "orgs/acme.db"), /exists/);
  assert.equal(readFileSync(to, "utf8"), "precious");
});

test("what is in the bucket is listed", async (t) => {
  const { run } = await bucketWithThreeTransactions(t);
  assert.match(await run("list"), /^orgs\/acme.db {2}newest transaction 3, 3 files, \d+ bytes\n$/);
  const lines = (await run("list", "--from", "orgs/acme.db")).split("\n");
  assert.equal(lines[1], "1  2026-11-24T09:01:00.000Z  level 0");
  assert.equal(lines[3], "3  2026-11-24T09:03:00.000Z  level 0");
});

test("verify tells a sound chain from a damaged one and from one with a gap", async (t) => {
  const { run, bucket } = await bucketWithThreeTransactions(t);
  assert.match(await run("verify"), /^orgs\/acme.db {2}ok: transaction 3, 3 files/);
  const second = join(bucket, "orgs/acme.db/0000/0000000000000002-0000000000000002.ltx");
  const bytes = readFileSync(second);
  const broken = Uint8Array.from(bytes, (byte, index) => (index === 150 ? byte ^ 1 : byte));
  rmSync(second);
  writeFileSync(second, broken);
  await assert.rejects(run("verify"), /verify found 1 problem/);
  await assert.rejects(run("restore", "--from", "orgs/acme.db", "--to", join(bucket, "../x.db")), {
    code: "storage_failure",
  });
  rmSync(second);
  await assert.rejects(run("verify", "--from", "orgs/acme.db"), /verify found 1 problem/);
  const gap = run("restore", "--from", "orgs/acme.db", "--to", join(bucket, "../x.db"));
  await assert.rejects(gap, /has a gap: transaction 2 is missing/);
});

test("a bucket that is not there is not made", async (t) => {
  const { run, file } = await bucketWithThreeTransactions(t);
  await assert.rejects(run("list", "--bucket", file("nowhere")), /there is no bucket/);
  assert.equal(existsSync(file("nowhere")), false);
});

async function bucketWithThreeTransactions(t: TestContext) {
  const root = mkdtempSync(join(tmpdir(), "database-commands-"));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const bucket = join(root, "bucket");
  const store = await openObjectStore(bucket);
  const states = await sampleChain({ store, path: join(root, "acme.db"), beganAtMs });
  const run = async (command: string, ...options: string[]): Promise<string> => {
    let output = "";
    const program = new Command("spritesd");
    const quiet = { writeErr: () => undefined, writeOut: () => undefined };
    program.exitOverride().configureOutput(quiet);
    addDatabaseCommands(program, (text) => (output += text));
    for (const db of program.commands) {
      for (const each of db.commands) each.exitOverride().configureOutput(quiet);
    }
    const chosen = options.includes("--bucket") ? [] : ["--bucket", bucket];
    await program.parseAsync(["db", command, ...chosen, ...options], { from: "user" });
    return output;
  };
  return { run, states, bucket, file: (name: string) => join(root, name) };
}
