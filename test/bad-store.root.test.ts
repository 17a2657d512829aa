/** A store that is far away, overloaded or gone: commands in a sprite do not fail, and nothing is lost. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { Sprite } from "@fly/sprites";
import { waitUntil } from "../src/base/wait.ts";
import { seededRandom } from "../src/storage/volume/testing/faulty-store.ts";
import { makeTestBucket } from "../src/testing/radosgw.ts";
import { checkFileSystem } from "./support/fsck.ts";
import { childrenOf, killAll } from "./support/processes.ts";
import { checkRounds, Rounds } from "./support/rounds.ts";
import { TestServer } from "./support/server.ts";
import { isSoak, soakSeed } from "./support/soak-scale.ts";
import { startStoreProxy, type StoreProxy } from "./support/store-proxy.ts";
import { drainStream } from "./support/streams.ts";

const outageMs = isSoak ? 60_000 : 6_000;
const burstMs = isSoak ? 10_000 : 2_500;
const bursts = isSoak ? 6 : 2;
/** After an outage, the pause before the next attempt may have grown to 30 s. */
const syncedWithinMs = 90_000;
/** All that the server keeps, its image's cache included. */
const diskSize = "250m";

let directory: string;
let bucket: string;
let proxy: StoreProxy;
let server: TestServer;
before(async () => {
  const seed = soakSeed();
  process.stdout.write(`# seed ${seed}\n`);
  const made = await makeTestBucket();
  Object.assign(process.env, made.environment);
  proxy = await startStoreProxy({ endpoint: made.endpoint, random: seededRandom(seed) });
  bucket = made.url.replace(made.endpoint, proxy.endpoint).replace("?", "/all?");
  directory = mkdtempSync(join(tmpdir(), "opensprites-bad-store-"));
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${diskSize},mode=0755`, "none", directory]);
  server = await TestServer.start({
    arguments: ["--bucket", bucket],
    dataDirectory: join(directory, "data"),
  });
});
after(async () => {
  await server?.close();
  execFileSync("umount", ["--lazy", directory]);
  rmSync(directory, { recursive: true });
  await proxy?.stop();
});

async function shell(sprite: Sprite, script: string): Promise<string> {
  return String((await sprite.execFile("sh", ["-c", script])).stdout).trim();
}

async function waitUntilSynced(name: string): Promise<number> {
  const start = performance.now();
  const sprite = server.client().sprite(name);
  // A checkpoint is complete when it is in the bucket, with all that came before it.
  let problem: unknown;
  const isStored = async (): Promise<boolean> => {
    try {
      await drainStream(await sprite.createCheckpoint("synced?"));
      return true;
    } catch (error) {
      problem = error;
      return false;
    }
  };
  const isSynced = await waitUntil(isStored, { timeoutMs: syncedWithinMs, intervalMs: 200 });
  if (isSynced) return performance.now() - start;
  process.stderr.write(`${server.log.slice(-40).join("\n")}\n`);
  throw new Error("the sprite does not store what it has", { cause: problem });
}

/** Loses the machine's memory of the sprite: what is there afterwards came from the bucket. */
async function restartWithoutCache(): Promise<void> {
  const children = await childrenOf(server.places);
  await Promise.all([server.kill(), killAll(children)]);
  rmSync(join(server.dataDirectory, "cache/sprites"), { recursive: true, force: true });
  await server.startProcess();
}

async function idOf(name: string): Promise<string> {
  const response = await server.request(`/v1/sprites/${name}`);
  return ((await response.json()) as { id: string }).id;
}

async function stopAndCheckFileSystem(spriteId: string): Promise<void> {
  await server.stop();
  await checkFileSystem({ dataDirectory: server.dataDirectory, spriteId, bucket });
  await server.startProcess();
}

test("200 ms away, a sprite is as quick as ever, and all of it comes back from there", async () => {
  const sprite = await server.client().createSprite("far");
  proxy.delayMs = 200;
  const rounds = await Rounds.start(server, "far", { pauseSeconds: 0 });
  await rounds.waitForMore(60);
  const roundMs = fastestRoundMs(rounds);
  process.stdout.write(`# a round with five syncs: ${roundMs.toFixed(1)} ms\n`);
  assert.ok(roundMs < 200, `a round takes ${roundMs} ms: it waits for the store`);
  const checkpointStart = performance.now();
  await drainStream(await sprite.createCheckpoint("far away"));
  process.stdout.write(`# a checkpoint: ${Math.round(performance.now() - checkpointStart)} ms\n`);
  const atLeast = rounds.lastBefore(Date.now() - 3_000);
  await restartWithoutCache();
  await checkRounds(server.client().sprite("far"), atLeast);
  proxy.delayMs = 0;
});

/** Of the ten rounds in a row that were the fastest: the others may have waited for this machine. */
function fastestRoundMs(rounds: Rounds): number {
  const times = rounds.acknowledged.map(({ atMs }) => atMs);
  const tens = times.slice(10).map((atMs, index) => (atMs - (times[index] ?? 0)) / 10);
  return Math.min(...tens);
}

test("bursts of errors, half of them after the store has done it, are nobody's business", async () => {
  const rounds = await Rounds.start(server, "far", { pauseSeconds: 0.01 });
  for (let burst = 0; burst < bursts; burst++) {
    proxy.errorRatio = 0.6;
    await delay(burstMs);
    proxy.errorRatio = 0;
    await rounds.waitForMore(5);
    await delay(burstMs / 5);
  }
  const said = rounds.last;
  process.stdout.write(`# in the bucket ${Math.round(await waitUntilSynced("far"))} ms later\n`);
  await restartWithoutCache();
  await checkRounds(server.client().sprite("far"), said);
  await stopAndCheckFileSystem(await idOf("far"));
});

test("an outage is waited out", async () => {
  const rounds = await Rounds.start(server, "far", { pauseSeconds: 0.05 });
  proxy.isDown = true;
  await delay(outageMs);
  const said = rounds.last;
  await rounds.waitForMore(20);
  proxy.isDown = false;
  process.stdout.write(
    `# after ${outageMs / 1000} s, in the bucket ${Math.round(await waitUntilSynced("far"))} ms later\n`,
  );
  await restartWithoutCache();
  await checkRounds(server.client().sprite("far"), said + 20);
});

test("a program that reads what only the bucket has waits until the bucket is back", async () => {
  await shell(
    server.client().sprite("far"),
    "head -c 20000000 /dev/urandom > ~/cold; sha256sum ~/cold > ~/sum",
  );
  await waitUntilSynced("far");
  await restartWithoutCache();
  const sprite = server.client().sprite("far");
  await shell(sprite, "cat ~/sum; sha256sum /dev/null");
  proxy.isDown = true;
  // Many at a time, so that the store's own retries are spent.
  const spend =
    "for n in $(seq 40); do dd if=$HOME/cold bs=64k skip=$((n * 7)) count=1 & done; wait";
  const look = "if grep Input ~/errors; then exit 5; fi; sha256sum -c ~/sum";
  const reading = shell(sprite, `(${spend}) > /dev/null 2> ~/errors; ${look}`);
  await delay(outageMs);
  proxy.isDown = false;
  assert.match(await reading, /OK/);
});

const writeUntilFull = `
import hashlib, os, sys
piece, n = 1 << 20, 0
with open("/home/sprite/full", "wb") as f:
    try:
        while n < 4000:
            f.write(hashlib.sha256(str(n).encode()).digest() * (piece // 32)); f.flush(); os.fsync(f.fileno())
            n += 1
    except OSError as error:
        print("after", n, error.strerror)
`;
const checkUntilFull = `
import hashlib, sys
with open("/home/sprite/full", "rb") as f:
    for n in range(int(sys.argv[1])):
        assert f.read(1 << 20) == hashlib.sha256(str(n).encode()).digest() * ((1 << 20) // 32), n
`;

test("a machine whose disk fills up during an outage tells the guest, and loses nothing that was synced", async () => {
  const sprite = server.client().sprite("far");
  // What is not in the cache cannot be read while the bucket is away; here it is writes that are looked at.
  await shell(
    sprite,
    "find ~ -type f -exec cat {} + > /dev/null; python3 -c 'import hashlib, os, sys'",
  );
  await waitUntilSynced("far");
  proxy.isDown = true;
  const output = await shell(sprite, `python3 -c '${writeUntilFull}'`);
  const match = /^after (\d+) (No space left on device|Input\/output error)/.exec(output);
  process.stdout.write(`# ${output}\n`);
  assert.ok(match !== null && Number(match[1]) > 10, output);
  proxy.isDown = false;
  await waitUntilSynced("far");
  const count = match[1] ?? "";
  await sprite.execFile("python3", ["-c", checkUntilFull, count]);
  await shell(sprite, "echo goes on > ~/after; sync");
  await checkRounds(sprite, 1);
  await waitUntilSynced("far");
  await restartWithoutCache();
  const again = server.client().sprite("far");
  await again.execFile("python3", ["-c", checkUntilFull, count]);
  assert.equal(await shell(again, "cat ~/after"), "goes on");
  await stopAndCheckFileSystem(await idOf("far"));
});
