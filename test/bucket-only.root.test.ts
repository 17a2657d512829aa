/** A sprite is what is in the bucket: a real S3 store, counted request by request. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { Sprite } from "@fly/sprites";
import { waitUntil } from "../src/base/wait.ts";
import { makeTestBucket } from "../src/testing/radosgw.ts";
import { TestServer } from "./support/server.ts";
import { isSoak } from "./support/soak-scale.ts";
import { startStoreProxy, type StoreProxy, type StoreRequest } from "./support/store-proxy.ts";
import { checkpointId, drainStream } from "./support/streams.ts";

/** How long nothing is done while requests are counted. */
const idleMs = isSoak ? 120_000 : 8_000;
/** What is on its way after the last write is in the bucket by then. */
const settledMs = 4_000;
const leaseIntervalMs = 10_000;

let bucket: string;
let proxy: StoreProxy;
let server: TestServer;
before(async () => {
  const made = await makeTestBucket();
  Object.assign(process.env, made.environment);
  proxy = await startStoreProxy({ endpoint: made.endpoint });
  bucket = made.url.replace(made.endpoint, proxy.endpoint).replace("?", "/all?");
  server = await TestServer.start({ arguments: ["--bucket", bucket] });
});
after(async () => {
  await server?.close();
  await proxy?.stop();
});

/** Files of every kind, of several owners, in the places where people and packages put them. */
const makeFiles = `
set -e
head -c 9000000 /dev/urandom > ~/big; truncate -s 40M ~/sparse; printf end >> ~/sparse
mkdir -p ~/project/deep/er; for n in $(seq 300); do echo "content $n" > ~/project/deep/er/$n; done
ln -s ../big ~/project/link; ln ~/big ~/project/hard; mkfifo ~/project/fifo
echo '#!/bin/sh' > ~/run; chmod 4711 ~/run; touch -d 2001-02-03 ~/old; echo öäü > "$HOME/näme with space"
sudo sh -c 'mkdir -p /etc/services.d /opt/tool /var/lib/tool; echo "command = server" > /etc/services.d/web
  echo tool > /opt/tool/bin; chown 1234:2345 /opt/tool/bin; echo state > /var/lib/tool/state; rm -r /usr/share/doc'
sync`;
/** Kinds, owners, modes, times, links and contents of all that the sprite can have changed. */
const digest = `sudo tar --sort=name --numeric-owner --xattrs -c -C / \
  --exclude=./etc/resolv.conf --exclude=./etc/hosts etc home opt root srv usr/share usr/local var/lib | sha256sum`;

async function shell(sprite: Sprite, script: string): Promise<string> {
  return String((await sprite.execFile("sh", ["-c", script])).stdout).trim();
}

async function records(): Promise<unknown> {
  const responses = await Promise.all(
    ["/v1/sprites/mover", "/v1/sprites/mover/checkpoints"].map((path) => server.request(path)),
  );
  const [sprite, checkpoints] = (await Promise.all(
    responses.map((response) => response.json()),
  )) as [Record<string, unknown>, Record<string, unknown>[]];
  const { id, name, labels, created_at } = sprite;
  // The live state stands among them and goes on changing, and with it what only a checkpoint holds.
  const fixed = checkpoints
    .filter((checkpoint) => checkpoint["id"] !== "Current")
    .map((checkpoint) => ({ ...checkpoint, unique_bytes: null }));
  return { id, name, labels, created_at, fixed };
}

function requestsFor(keys: string, sinceMs: number): StoreRequest[] {
  return proxy.requests.filter(
    ({ atMs, target }) => atMs >= sinceMs && decodeURIComponent(target).includes(keys),
  );
}

const isRead = ({ method }: StoreRequest): boolean => method === "GET" || method === "HEAD";

function describe(requests: readonly StoreRequest[]): string {
  return requests.map(({ method, target }) => `${method} ${target}`).join("\n");
}

test("a sprite that is awake and idle writes nothing to the bucket", async () => {
  const sprite = await server.client().createSprite("mover", { labels: ["moved", "far away"] });
  await shell(sprite, makeFiles);
  const isQuiet = (): boolean => requestsFor("all/sprites/", Date.now() - settledMs).every(isRead);
  assert.ok(await waitUntil(isQuiet, { timeoutMs: 60_000, intervalMs: 200 }), "it comes to rest");

  const sinceMs = Date.now();
  await delay(idleMs);
  const all = requestsFor("", sinceMs);
  const ofSprite = requestsFor("all/sprites/", sinceMs);
  process.stdout.write(
    `# awake and idle for ${idleMs / 1000} s: ${ofSprite.length} requests for the sprite, ${all.length} in all\n`,
  );
  const writes = all.filter((request) => !isRead(request));
  const leases = writes.filter(({ target }) => target.includes("all/servers/"));
  assert.equal(describe(writes.filter((request) => !leases.includes(request))), "");
  assert.ok(leases.length <= idleMs / leaseIntervalMs + 1, `${leases.length} lease renewals`);
});

test("a sprite that sleeps costs no request at all", async () => {
  await server.stop();
  const sinceMs = Date.now();
  await server.startProcess();
  await delay(idleMs);
  assert.equal(describe(requestsFor("all/sprites/", sinceMs)), "");
  const all = requestsFor("", Date.now() - idleMs);
  process.stdout.write(`# asleep for ${idleMs / 1000} s: ${all.length} requests of the server\n`);
});

test("all of a sprite moves to another machine with nothing but the bucket", async () => {
  const sprite = server.client().sprite("mover");
  const first = await shell(sprite, digest);
  const older = checkpointId(await drainStream(await sprite.createCheckpoint("as it was made")));
  await shell(sprite, "rm -r ~/project; echo second > ~/second; head -c 70000 /dev/zero >> ~/big");
  const second = await shell(sprite, digest);
  const newer = checkpointId(await drainStream(await sprite.createCheckpoint("changed")));
  await shell(sprite, "echo third > ~/second; mkdir ~/third");
  const third = await shell(sprite, digest);
  const before = await records();
  const { token } = server;
  await server.close();

  server = await TestServer.start({ arguments: ["--bucket", bucket], token });
  const moved = server.client().sprite("mover");
  assert.equal(await shell(moved, digest), third);
  assert.deepEqual(await records(), before);
  await drainStream(await moved.restoreCheckpoint(older));
  assert.equal(await shell(moved, digest), first);
  await drainStream(await moved.restoreCheckpoint(newer));
  assert.equal(await shell(moved, digest), second);
  assert.equal(await shell(moved, "cat /etc/services.d/web"), "command = server");
});
