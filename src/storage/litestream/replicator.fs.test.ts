import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import type { SpriteError } from "../../contract/errors.ts";
import { Database } from "../database.ts";
import { MemoryObjectStore } from "../object-store/testing/memory-object-store.ts";
import { DatabaseFile } from "./database-pages.ts";
import { databasePolicy } from "./policies.ts";
import { ReplicatedDatabase } from "./replicated-database.ts";
import { Replicator } from "./replicator.ts";
import { restoreDatabase } from "./restore.ts";
import { restoreMissing } from "./restore-missing.ts";

const logFrameSizeBytes = 4_096 + 24;

test("a database is replicated from when it appears, and a change a round later", async (t) => {
  const bed = new Bed(t);
  const server = bed.server("one");
  await server.replicator.round();
  const database = server.create("acme.db");
  await server.replicator.round();
  assert.deepEqual(await bed.restored("acme.db"), database.serialize());
  database.execute("INSERT INTO t VALUES (1)");
  await server.replicator.round();
  assert.deepEqual(await bed.restored("acme.db"), database.serialize());
  assert.deepEqual(server.problems, []);
});

test("databases that do not change make no request, however long", async (t) => {
  const bed = new Bed(t);
  const server = bed.server("one");
  server.create("acme.db").execute("INSERT INTO t VALUES (1)");
  server.create("other.db");
  // What a change leads to is merged and made a snapshot of within an hour and a day.
  for (let round = 0; round < 50; round += 1) await server.pass(3_600_000);
  const before = bed.store.statistics().requests;
  for (let round = 0; round < 50; round += 1) await server.pass(3_600_000);
  assert.deepEqual(bed.store.statistics().requests, before);
});

test("a server that starts again without a change stores nothing", async (t) => {
  const bed = new Bed(t);
  const server = bed.server("one");
  server.create("acme.db").execute("INSERT INTO t VALUES (1)");
  await server.replicator.round();
  server.closeDatabases();
  await server.replicator.drain(new AbortController().signal);
  const again = bed.server("one");
  await again.replicator.prepare();
  const { put } = bed.store.statistics().requests;
  const database = again.open("acme.db");
  await again.replicator.round();
  assert.equal(bed.store.statistics().requests.put, put);
  const before = bed.store.statistics().writtenBytes;
  database.execute("INSERT INTO t VALUES (2)");
  await again.replicator.round();
  const written = bed.store.statistics().writtenBytes - before;
  assert.ok(
    written < 2_000,
    `${written} bytes for one row: the log is continued, without an image`,
  );
  assert.deepEqual(await bed.restored("acme.db"), database.serialize());
});

test("the last change before a stop is shipped", async (t) => {
  const bed = new Bed(t);
  const server = bed.server("one");
  const database = server.create("acme.db");
  await server.replicator.round();
  database.execute("INSERT INTO t VALUES ('last')");
  const bytes = database.serialize();
  server.closeDatabases();
  await server.replicator.drain(new AbortController().signal);
  assert.deepEqual(await bed.restored("acme.db"), bytes);
});

test("a server that is killed goes on from its log", async (t) => {
  const bed = new Bed(t);
  const server = bed.server("one");
  const database = server.create("acme.db");
  await server.replicator.round();
  database.execute("INSERT INTO t VALUES (1)");
  await server.replicator.round();
  database.execute("INSERT INTO t VALUES (2)");
  // As after a kill: nobody drains, and nothing was folded. A reader of ours keeps the log.
  const keeper = server.open("acme.db");
  await server.replicator.stop();
  const again = bed.server("one");
  await again.replicator.prepare();
  const before = bed.store.statistics().writtenBytes;
  await again.replicator.round();
  assert.ok(bed.store.statistics().writtenBytes - before < 2_000);
  assert.deepEqual(await bed.restored("acme.db"), keeper.serialize());
});

test("the log is folded when it is long, under a writer that never pauses, and nothing is missed", async (t) => {
  const bed = new Bed(t);
  const server = bed.server("one");
  const database = server.create("acme.db");
  let longest = 0;
  for (let round = 0; round < 40; round += 1) {
    database.execute("INSERT INTO t VALUES (randomblob(300000))");
    database.execute("DELETE FROM t WHERE rowid = abs(random()) % 40");
    await server.pass(1_000);
    if (round % 8 === 7) assert.deepEqual(await bed.restored("acme.db"), database.serialize());
    longest = Math.max(longest, statSync(server.path("acme.db-wal")).size);
  }
  assert.ok(longest < 6_000_000, `the log grew to ${longest} bytes`);
  assert.ok(longest > 100 * logFrameSizeBytes);
  assert.ok(
    readFileSync(server.path("acme.db")).length > 3_000_000,
    "the file has what was folded",
  );
});

test("a new machine goes on from the bucket, and the old one can store nothing any more", async (t) => {
  const bed = new Bed(t);
  const old = bed.server("one");
  const database = old.create("acme.db");
  database.execute("INSERT INTO t VALUES (1)");
  await old.replicator.round();
  const bytes = database.serialize();

  bed.dead.add("one");
  const next = bed.server("two");
  assert.deepEqual(await next.restoreMissing(), ["acme.db"]);
  const restored = next.open("acme.db");
  assert.deepEqual(restored.serialize(), bytes);
  await next.replicator.prepare();
  restored.execute("INSERT INTO t VALUES (2)");
  await next.replicator.round();
  assert.deepEqual(await bed.restored("acme.db"), restored.serialize());

  database.execute("INSERT INTO t VALUES ('too late')");
  await old.replicator.round();
  assert.match(old.problems.join(), /acme.db: another writer has taken over/);
  assert.deepEqual(await bed.restored("acme.db"), restored.serialize());
});

test("the old machine is shut out before the new one changes anything", async (t) => {
  const bed = new Bed(t);
  const old = bed.server("one");
  const database = old.create("acme.db");
  await old.replicator.round();
  bed.dead.add("one");
  const next = bed.server("two");
  await next.restoreMissing();
  const restored = next.open("acme.db");
  await next.replicator.prepare();
  database.execute("INSERT INTO t VALUES ('too late')");
  await old.replicator.round();
  assert.match(old.problems.join(), /another writer has taken over/);
  assert.deepEqual(await bed.restored("acme.db"), restored.serialize());
});

test("a log with something that is not in the bucket is not folded", async (t) => {
  const bed = new Bed(t);
  const server = bed.server("one");
  const database = server.create("acme.db");
  database.execute("INSERT INTO t VALUES (randomblob(200000))");
  const { replica, file } = await server.replicate("acme.db");
  await replica.sync();
  const imageSizeBytes = bed.store.statistics().writtenBytes;
  const other = server.open("acme.db");
  // Nobody else gets it folded whole, after which the writer would begin it anew.
  for (let round = 0; round < 2; round += 1) {
    other.foldWal();
    database.execute("INSERT INTO t VALUES (1)");
  }
  assert.equal(await replica.fold(), false);
  database.execute("INSERT INTO t VALUES (2)");
  await replica.sync();
  assert.deepEqual(await bed.restored("acme.db"), database.serialize());
  assert.equal(await replica.fold(), true);
  const writtenBytes = bed.store.statistics().writtenBytes - imageSizeBytes;
  assert.ok(writtenBytes < 4_000, `${writtenBytes} bytes: no second image was needed`);
  replica.close();
  server.closeDatabases();
  file.close();
});

test("a database whose server lives is left to it", async (t) => {
  const bed = new Bed(t);
  const one = bed.server("one");
  one.create("acme.db");
  await one.replicator.round();
  const two = bed.server("two");
  assert.deepEqual(await two.restoreMissing(), []);
  assert.match(two.problems.join(), /acme.db: .*belongs to the server one/);
  two.create("acme.db");
  await assert.rejects(two.replicator.prepare(), { code: "conflict" });
});

test("a database of another history is refused, also when its server is dead", async (t) => {
  const bed = new Bed(t);
  const one = bed.server("one");
  one.create("acme.db");
  await one.replicator.round();
  bed.dead.add("one");
  const two = bed.server("two");
  two.create("acme.db");
  await assert.rejects(two.replicator.prepare(), /another history/);
});

test("a server that died while it restored begins that anew", async (t) => {
  const bed = new Bed(t);
  const one = bed.server("one");
  const database = one.create("acme.db");
  await one.replicator.round();
  bed.dead.add("one");
  const two = bed.server("two");
  await two.restoreMissing();
  rmSync(two.path("acme.db"));
  assert.deepEqual(await two.restoreMissing(), ["acme.db"]);
  assert.deepEqual(two.open("acme.db").serialize(), database.serialize());
});

test("another bucket that is empty gets everything anew", async (t) => {
  const bed = new Bed(t);
  const server = bed.server("one");
  const database = server.create("acme.db");
  await server.replicator.round();
  server.closeDatabases();
  await server.replicator.drain(new AbortController().signal);
  await bed.store.deletePrefix("orgs/");
  const again = bed.server("one");
  await again.replicator.prepare();
  await again.replicator.round();
  assert.deepEqual(await bed.restored("acme.db"), again.open("acme.db").serialize());
  assert.ok(database !== null);
});

test("a bucket that refuses is asked ever less often, and all is made up for", async (t) => {
  const bed = new Bed(t);
  const server = bed.server("one");
  const database = server.create("acme.db");
  await server.replicator.round();
  database.execute("INSERT INTO t VALUES (1)");
  bed.store.faults.setRules([{ fault: { kind: "unavailable" } }]);
  const before = bed.store.statistics().requests.put;
  for (let second = 0; second < 120; second += 1) await server.pass(1_000);
  const tries = bed.store.statistics().requests.put - before;
  assert.ok(tries >= 4 && tries <= 12, `${tries} tries in two minutes`);
  assert.equal(server.problems.length, 1);
  bed.store.faults.setRules([]);
  await server.pass(60_000);
  assert.deepEqual(await bed.restored("acme.db"), database.serialize());
  assert.deepEqual(server.problems.slice(1), ["acme.db: well again"]);
});

test("a writer never waits for the bucket", async (t) => {
  const bed = new Bed(t);
  const server = bed.server("one");
  const database = server.create("acme.db");
  await server.replicator.round();
  database.execute("INSERT INTO t VALUES (1)");
  bed.store.faults.setRules([{ fault: { kind: "slow", delayMs: 1 }, requests: ["put"], count: 1 }]);
  const put = bed.holdRequests();
  const round = server.replicator.round();
  await put.begun;
  // The transaction is on its way, and the database takes others.
  database.execute("INSERT INTO t VALUES (2)");
  database.execute("VACUUM");
  put.release();
  await round;
  await server.replicator.round();
  assert.deepEqual(await bed.restored("acme.db"), database.serialize());
});

/** One bucket, and servers with directories and clocks of their own. */
class Bed {
  readonly store: MemoryObjectStore;
  readonly dead = new Set<string>();
  readonly #t: TestContext;
  readonly #root: string;
  nowMs = Date.now();
  #delay: () => Promise<void> = async () => undefined;

  constructor(t: TestContext) {
    this.#t = t;
    this.#root = mkdtempSync(join(tmpdir(), "replicator-"));
    this.store = new MemoryObjectStore({ now: () => this.nowMs, delay: () => this.#delay() });
    t.after(() => rmSync(this.#root, { recursive: true, force: true }));
  }

  /** The next slow request takes until it is released. */
  holdRequests(): { begun: Promise<void>; release: () => void } {
    const begun = Promise.withResolvers<void>();
    const end = Promise.withResolvers<void>();
    this.#delay = async () => {
      begun.resolve();
      await end.promise;
    };
    return { begun: begun.promise, release: () => end.resolve() };
  }

  server(name: string): Server {
    const server = new Server(this, name, join(this.#root, name));
    this.#t.after(() => server.end());
    return server;
  }

  async restored(name: string): Promise<Uint8Array> {
    const path = join(this.#root, "restored");
    rmSync(path, { force: true });
    const target = { kind: "latest" } as const;
    await restoreDatabase({ store: this.store, prefix: `orgs/${name}`, target, path });
    return readFileSync(path);
  }
}

class Server {
  readonly replicator: Replicator;
  readonly problems: string[] = [];
  readonly #bed: Bed;
  readonly #name: string;
  readonly #directory: string;
  readonly #databases: Database[] = [];
  #monotonicMs = 0;

  constructor(bed: Bed, name: string, directory: string) {
    this.#bed = bed;
    this.#name = name;
    this.#directory = directory;
    mkdirSync(directory, { recursive: true });
    this.replicator = new Replicator({
      ...this.#common(),
      policy: databasePolicy,
      random: () => 0.5,
      clock: {
        nowMs: () => bed.nowMs,
        monotonicMs: () => this.#monotonicMs,
        wait: async () => undefined,
      },
      onProblem: (file, problem) =>
        this.problems.push(`${file}: ${problem?.message ?? "well again"}`),
    });
  }

  #common() {
    return {
      store: this.#bed.store,
      directory: this.#directory,
      prefix: "orgs",
      server: this.#name,
      isServerAlive: async (server: string) => !this.#bed.dead.has(server),
    };
  }

  path(name: string): string {
    return join(this.#directory, name);
  }

  create(name: string): Database {
    const database = this.open(name);
    database.execute("CREATE TABLE IF NOT EXISTS t (body)");
    return database;
  }

  open(name: string): Database {
    const database = Database.open(this.path(name), { create: true, isReplicated: true });
    this.#databases.push(database);
    return database;
  }

  closeDatabases(): void {
    for (const database of this.#databases.splice(0)) database.close();
  }

  async restoreMissing(): Promise<string[]> {
    const onSkipped = (name: string, holder: SpriteError): void => {
      this.problems.push(`${name}: ${holder.message}`);
    };
    return await restoreMissing({ ...this.#common(), onSkipped });
  }

  /** Without the replicator around it. */
  async replicate(name: string): Promise<{ replica: ReplicatedDatabase; file: DatabaseFile }> {
    const file = new DatabaseFile(this.path(name));
    const replica = await ReplicatedDatabase.open({
      ...this.#common(),
      ...{ file, path: this.path(name), prefix: `orgs/${name}` },
      policy: databasePolicy,
      nowMs: () => this.#bed.nowMs,
    });
    return { replica, file };
  }

  /** Time passes, and a round follows. */
  async pass(ms: number): Promise<void> {
    this.#bed.nowMs += ms;
    this.#monotonicMs += ms;
    await this.replicator.round();
  }

  async end(): Promise<void> {
    this.closeDatabases();
    await this.replicator.stop();
  }
}
