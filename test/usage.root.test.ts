/** What a sprite has used, through sleep, a killed server, and its own end. */
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { waitUntil } from "../src/base/wait.ts";
import type { UsageAmounts, UsageObject } from "../src/contract/usage.ts";
import { TestServer } from "./support/server.ts";

const mebibyte = 1024 * 1024;
let server: TestServer;
let directory: string;
const adminSecret = "known-to-the-operator-only";
before(async () => {
  directory = await mkdtemp(join(tmpdir(), "usage-test-"));
  const secretFile = join(directory, "admin-secret");
  await writeFile(secretFile, adminSecret, { mode: 0o600 });
  server = await TestServer.start({ arguments: ["--admin-secret-file", secretFile] });
});
after(async () => {
  await server.close();
  await rm(directory, { recursive: true, force: true });
});

async function usage(query = ""): Promise<UsageObject> {
  const from = new Date(Date.now() - 3_600_000).toISOString();
  const answer = await server.request(`/v1/usage?from=${from}${query}`);
  assert.equal(answer.status, 200);
  return (await answer.json()) as UsageObject;
}

async function sleep(): Promise<UsageAmounts> {
  await server.request("/v1/sprites/worker/sleep", { method: "POST" });
  return (await usage()).total;
}

/** 32 MiB that stay in memory until the container ends, a file of 3 MB, and what the kernel says of the processor. */
const work = [
  "head -c 33554432 /dev/zero > /dev/shm/held; head -c 3000000 /dev/urandom > ~/file; sync",
  "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done",
  "times",
].join("; ");

async function doWork(): Promise<number> {
  const sprite = server.client().sprite("worker");
  const { stdout } = await sprite.execFile("sh", ["-c", work]);
  const times = [...String(stdout).matchAll(/(\d+)m([\d.]+)s/g)];
  return times.reduce(
    (sum, [, minutes, seconds]) => sum + 60 * Number(minutes) + Number(seconds),
    0,
  );
}

test("work is metered, sleep costs storage only, a killed server counts nothing twice", async () => {
  const beganAtMs = performance.now();
  const elapsed = (): number => (performance.now() - beganAtMs) / 1_000;
  await server.client().createSprite("worker", { labels: ["ci", "nightly"] });
  const workedAtMs = performance.now();
  let workSeconds = await doWork();
  const workedSeconds = (performance.now() - workedAtMs) / 1_000;
  const first = await sleep();
  assert.ok(first.cpu_seconds >= workSeconds * 0.9, `${first.cpu_seconds} of ${workSeconds} s`);
  assert.ok(first.cpu_seconds <= workSeconds + elapsed());
  assert.ok(first.running_seconds > 0 && first.running_seconds <= elapsed());
  // As far as the meter has looked, straight from nothing to 32 MiB.
  const held = first.memory_byte_seconds / mebibyte;
  assert.ok(held > 8 * workedSeconds, `${held} MiB s in ${workedSeconds} s`);
  assert.ok(held < 500 * first.running_seconds, `${held} MiB s`);
  assert.ok(first.bucket_write_requests > 0);
  assert.ok(first.bucket_written_bytes >= 3_000_000);

  const isStoring = async (): Promise<boolean> =>
    (await usage()).total.storage_byte_seconds > first.storage_byte_seconds + 3_000_000;
  assert.ok(await waitUntil(isStoring, { timeoutMs: 30_000, intervalMs: 100 }), "storage counts");
  const { total: asleep } = await usage();
  assert.deepEqual({ ...asleep, storage_byte_seconds: 0 }, { ...first, storage_byte_seconds: 0 });

  workSeconds += await doWork();
  await server.kill();
  await server.startProcess();
  const second = await sleep();
  assert.ok(second.cpu_seconds >= workSeconds * 0.9, `${second.cpu_seconds} of ${workSeconds} s`);
  assert.ok(second.cpu_seconds <= workSeconds + elapsed());
  assert.ok(second.running_seconds > first.running_seconds && second.running_seconds <= elapsed());
  await server.stop();
  await server.startProcess();
  const { total: restarted } = await usage();
  const { storage_byte_seconds: _now, ...counted } = restarted;
  const { storage_byte_seconds: _then, ...before } = second;
  assert.deepEqual(counted, before);

  await server.client().deleteSprite("worker");
  const { usage: byLabel, total } = await usage("&by=label");
  assert.deepEqual(
    byLabel.map(({ label, running_seconds }) => [label, running_seconds]),
    [
      ["ci", total.running_seconds],
      ["nightly", total.running_seconds],
    ],
  );
  assert.equal(total.running_seconds, second.running_seconds);
  const { stdout } = await server.cli(["usage", "--since", "1h"]);
  assert.match(stdout, /^SPRITE +RUNNING +WARM +CPU/);
  assert.match(stdout, /^worker +\d/m);
  const csv = await server.cli(["usage", "worker", "--since", "1h", "--csv"]);
  assert.match(csv.stdout, /^sprite,sprite_id,running_seconds,.*\r\nworker,sprite-/);
});

test("an operator reads metrics, and whether the server is ready", async () => {
  const headers = { authorization: `Bearer ${adminSecret}` };
  const metrics = await (await fetch(`${server.url}/metrics`, { headers })).text();
  assert.match(metrics, /^opensprites_sprites\{state="cold"\} 0$/m);
  assert.match(
    metrics,
    /^opensprites_object_store_requests_total\{by="server",kind="write"\} [1-9]/m,
  );
  assert.match(metrics, /^process_resident_memory_bytes \d/m);
  const ready = await fetch(`${server.url}/readyz`);
  assert.deepEqual([ready.status, await ready.json()], [200, { status: "ok" }]);
});
