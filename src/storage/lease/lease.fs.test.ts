import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { SpriteError } from "../../contract/errors.ts";
import { DirectoryObjectStore } from "../object-store/directory-object-store.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { decodeHead, encodeHead, headKey, type Head } from "./head.ts";
import { ServerLease } from "./server-lease.ts";
import { decodeServerRecord, isServerAlive, serverKey } from "./server-record.ts";
import { JumpingClock } from "./testing/jumping-clock.ts";
import { VolumeLease, type AcquireOptions } from "./volume-lease.ts";

const prefix = "sprites/leased";
const change = { txid: 7, files: [[9, 1, 7, 4_000, 1_700]], legacyMap: null } as const;
let directory = "";
let store: ObjectStore;
let clock: JumpingClock;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "opensprites-lease-"));
  store = await DirectoryObjectStore.open(directory);
  clock = new JumpingClock();
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function acquire(options: Partial<AcquireOptions> = {}): Promise<VolumeLease> {
  return VolumeLease.acquire({
    store,
    prefix,
    server: "a",
    writer: "00000000000000aa",
    clock,
    saved: null,
    newSizeBytes: 65_536,
    missingError: null,
    ...options,
  });
}

async function headNow(): Promise<Head> {
  const bytes = await store.get(headKey(prefix));
  assert.ok(bytes);
  const head = decodeHead(bytes);
  assert.ok(head.formatVersion === 2);
  return head;
}

/** A server that renews as time passes on the test's clock. */
async function keepAlive(server: string): Promise<void> {
  let sequence = 0;
  const renew = async (): Promise<void> => {
    const record = {
      formatVersion: 1,
      server,
      incarnation: "i",
      machine: "elsewhere",
      sequence: ++sequence,
      isReleased: false,
      renewedAtMs: 0,
    };
    await store.put(serverKey(server), Buffer.from(JSON.stringify(record)));
  };
  await renew();
  let renewedAtMs = 0;
  clock.onWait = async (elapsedMs) => {
    if (elapsedMs - renewedAtMs < 10_000) return;
    renewedAtMs = elapsedMs;
    await renew();
  };
}

test("a volume is taken, released, and taken again with one request by who remembers its head", async () => {
  const first = await acquire();
  assert.equal(first.previous, null);
  assert.equal((await headNow()).holder?.server, "a");
  await first.release(change);
  const before = store.statistics().requests;
  const again = await acquire({ saved: first.head, writer: "00000000000000ab" });
  const after = store.statistics().requests;
  assert.equal(after.put - before.put, 1);
  assert.equal(after.get - before.get, 0);
  const { generation, txid, files } = again.head.value;
  assert.deepEqual({ generation, txid, files }, { generation: 2, txid: 7, files: change.files });
});

test("a volume that was there before is not made anew in a bucket without it", async () => {
  await assert.rejects(acquire({ missingError: new SpriteError("gone", "lost") }), {
    code: "gone",
  });
  assert.equal(await store.get(headKey(prefix)), null);
});

test("a live server keeps its volumes, and who asks hears which it is", async () => {
  await acquire({ server: "b" });
  await keepAlive("b");
  await assert.rejects(acquire(), (error: Error & { code: string; details: unknown }) => {
    assert.equal(error.code, "conflict");
    assert.equal((error.details as { holder: string }).holder, "b");
    return true;
  });
  assert.equal((await headNow()).holder?.server, "b");
});

test("a server that does not renew for 30 s of our own clock loses its volumes", async () => {
  const zombie = await acquire({ server: "b" });
  await keepAlive("b");
  clock.onWait = async () => undefined;
  const lease = await acquire({ writer: "00000000000000cc" });
  assert.ok(clock.monotonicMs() >= 30_000);
  assert.equal(lease.head.value.generation, 2);
  await assert.rejects(zombie.update(change), { details: { isFenced: true } });
  await assert.rejects(zombie.release(change), { details: { isFenced: true } });
  assert.equal((await headNow()).writer, "00000000000000cc");
});

test("a server without a record, or with a released one, is not waited for", async () => {
  await acquire({ server: "b" });
  await acquire({ server: "c" });
  const options = { store, clock, machine: "m", onTrouble: () => undefined };
  await (await ServerLease.start({ ...options, server: "c" })).stop();
  const waitedMs = clock.monotonicMs();
  await acquire();
  assert.equal(clock.monotonicMs(), waitedMs);
});

test("this server's dead agent is taken over at once", async () => {
  await acquire();
  await keepAlive("a");
  const waitedMs = clock.monotonicMs();
  await acquire({ writer: "00000000000000ab" });
  assert.equal(clock.monotonicMs(), waitedMs);
});

test("a write whose answer was lost is found to be ours", async () => {
  const lease = await acquire();
  const written = { ...lease.head.value, ...change };
  // The store has it, and we never heard.
  assert.ok(await store.swap(headKey(prefix), encodeHead(written), { etag: lease.head.etag }));
  await lease.update({ ...change, txid: 8 });
  assert.equal((await headNow()).txid, 8);
});

test("a head that cannot be understood is an error, and stays", async () => {
  for (const text of ["", "{}", '{"formatVersion":3}', '{"formatVersion":1,"nonce":"x"}']) {
    await store.put(headKey(prefix), Buffer.from(text));
    await assert.rejects(acquire(), { code: "storage_failure" });
    assert.equal(Buffer.from((await store.get(headKey(prefix))) ?? []).toString(), text);
  }
});

test("a head of format 1 is taken with its map named", async () => {
  const legacy = {
    ...{ formatVersion: 1, cut: 3, nonce: "f".repeat(32), mapSizeBytes: 10, sizeBytes: 65_536 },
    ...{
      map: `meta/${"0".repeat(16)}-${"f".repeat(32)}`,
      mapSha256: "a".repeat(64),
      writtenAtMs: 1,
    },
  };
  await store.put(headKey(prefix), Buffer.from(JSON.stringify(legacy)));
  const lease = await acquire();
  assert.equal(lease.previous?.formatVersion, 1);
  assert.deepEqual((await headNow()).legacyMap, { key: legacy.map, sha256: legacy.mapSha256 });
});

test("a server renews while it runs, and says when it could not", async () => {
  const troubles: (string | null)[] = [];
  const failing = { isFailing: false };
  const swap: ObjectStore["swap"] = async (...args) => {
    if (failing.isFailing) throw new Error("down");
    return await store.swap(...args);
  };
  const flaky = new Proxy(store, {
    get: (target, name) =>
      name === "swap" ? swap : (Reflect.get(target, name) as () => void).bind(target),
  });
  const reached = Promise.withResolvers<void>();
  clock.onWait = async (elapsedMs) => {
    failing.isFailing = elapsedMs >= 50_000 && elapsedMs < 100_000;
    if (elapsedMs >= 150_000) reached.resolve();
  };
  const lease = await ServerLease.start({
    ...{ store: flaky, server: "a", machine: "m", clock },
    onTrouble: (trouble) => troubles.push(trouble),
  });
  await reached.promise;
  await lease.stop();
  assert.equal(troubles.length, 2);
  assert.match(String(troubles[0]), /not renewed for 3\d s: down/);
  assert.equal(troubles[1], null);
  const bytes = await store.get(serverKey("a"));
  assert.ok(bytes);
  assert.equal(decodeServerRecord(bytes).isReleased, true);
});

test("a copied data directory does not run beside its original", async () => {
  await keepAlive("a");
  const options = { store, server: "a", clock, onTrouble: () => undefined };
  await assert.rejects(ServerLease.start({ ...options, machine: "m" }), { code: "conflict" });
  // On the machine itself the record is of the process before this one.
  const lease = await ServerLease.start({ ...options, machine: "elsewhere" });
  assert.equal(await isServerAlive({ store, server: "a", clock }), true);
  await lease.stop();
});

test("a server is waited for once: whoever finds it dead says so in its record", async () => {
  await acquire({ server: "b" });
  await keepAlive("b");
  clock.onWait = async () => undefined;
  assert.equal(await isServerAlive({ store, server: "b", clock }), false);
  const waitedMs = clock.monotonicMs();
  assert.ok(waitedMs >= 30_000);
  await acquire();
  assert.equal(clock.monotonicMs(), waitedMs);
});

test("a server that was found dead and lives has its lease again, under another tenure", async () => {
  const renewed = Promise.withResolvers<void>();
  let isAway = true;
  const flaky = new Proxy(store, {
    get: (target, name) => {
      const method = (Reflect.get(target, name) as (...args: unknown[]) => unknown).bind(target);
      if (name !== "swap") return method;
      return async (...args: unknown[]) => {
        if (isAway && clock.monotonicMs() > 0) throw new Error("away");
        const swapped = await method(...args);
        if (clock.monotonicMs() > 0 && swapped !== null) renewed.resolve();
        return swapped;
      };
    },
  });
  const options = { store: flaky, server: "a", machine: "m", clock, onTrouble: () => undefined };
  clock.onWait = async (elapsedMs) => {
    if (elapsedMs < 40_000 || !isAway) return;
    assert.equal(lease.tenure, null);
    const other = new JumpingClock();
    assert.equal(await isServerAlive({ store, server: "a", clock: other }), false);
    isAway = false;
  };
  const lease = await ServerLease.start(options);
  const before = lease.tenure;
  assert.ok(before !== null);
  await renewed.promise;
  const record = decodeServerRecord((await store.get(serverKey("a"))) ?? Buffer.of());
  await lease.stop();
  assert.equal(record.isReleased, false);
  assert.notEqual(lease.tenure, before);
});
