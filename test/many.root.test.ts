/**
 * Many sprites on one machine: cold ones hold nothing of it and ask nothing of the bucket, and all of them can be needed at once. Small in
 * `make test`; `make soak-many` makes it large (test/support/soak-scale.ts).
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { waitUntil } from "../src/base/wait.ts";
import { makeTestBucket } from "../src/testing/radosgw.ts";
import { footprintOf, memoryOf, residentMb, type Footprint } from "./support/footprint.ts";
import { childrenOf } from "./support/processes.ts";
import { TestServer } from "./support/server.ts";
import { soakSetting } from "./support/soak-scale.ts";
import { startStoreProxy, type StoreProxy } from "./support/store-proxy.ts";

const counts = {
  cold: soakSetting("cold", 4),
  warm: soakSetting("warm", 1),
  running: soakSetting("running", 1),
};
const stormCount = soakSetting("storm", counts.cold);
const restMs = soakSetting("restSeconds", 1) * 1_000;
const settledMs = 600_000;
const parallel = 3;

let server: TestServer;
let proxy: StoreProxy;
let bare: Footprint;

before(async () => {
  const made = await makeTestBucket();
  Object.assign(process.env, made.environment);
  proxy = await startStoreProxy({ endpoint: made.endpoint });
  const bucket = made.url.replace(made.endpoint, proxy.endpoint).replace("?", "/all?");
  const sleep = ["--idle-window", "1s", "--warm-time", "off"];
  server = await TestServer.start({ arguments: ["--bucket", bucket, ...sleep] });
  // What all of them share is there from the first on.
  await make("first");
  await post("/v1/sprites/first/sleep");
  bare = await footprintOf(server);
});
after(async () => {
  await server?.close();
  await proxy?.stop();
});

const namesOf = (kind: keyof typeof counts): string[] =>
  Array.from({ length: counts[kind] }, (_, index) => `${kind}-${index}`);

async function post(path: string): Promise<string> {
  const response = await server.request(path, { method: "POST" });
  const text = await response.text();
  assert.equal(response.status, 200, `${path}: ${text}`);
  return text;
}

async function make(name: string): Promise<void> {
  const body = JSON.stringify({ name });
  const headers = { "content-type": "application/json" };
  const response = await server.request("/v1/sprites", { method: "POST", headers, body });
  assert.equal(response.status, 201, await response.text());
}

async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const waiting = [...items];
  const worker = async (): Promise<void> => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: parallel }, worker));
}

interface Listed {
  id: string;
  name: string;
  status: string;
}

async function list(): Promise<Listed[]> {
  const found: Listed[] = [];
  for (let token = ""; ;) {
    const response = await server.request(`/v1/sprites?continuation_token=${token}`);
    const page = (await response.json()) as {
      sprites: Listed[];
      next_continuation_token: string | null;
    };
    found.push(...page.sprites);
    if (page.next_continuation_token === null) return found;
    token = page.next_continuation_token;
  }
}

async function countByStatus(): Promise<Record<string, number>> {
  const all = await list();
  const count = (status: string): number => all.filter((one) => one.status === status).length;
  return { cold: count("cold"), warm: count("warm"), running: count("running") };
}

function say(text: string): void {
  process.stdout.write(`# ${text}\n`);
}

function percentile(sorted: readonly number[], share: number): number {
  return Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0);
}

test("cold sprites hold no process, mount, loop device, namespace, cgroup or open file", async () => {
  await inParallel(namesOf("cold"), async (name) => {
    await make(name);
    await post(`/v1/sprites/${name}/sleep`);
  });
  await inParallel([...namesOf("warm"), ...namesOf("running")], make);
  const commands = namesOf("running").map((name) =>
    server.client().sprite(name).spawn("sleep", ["100000"]),
  );
  for (const command of commands) command.on("error", () => undefined);
  const wanted = { ...counts, cold: counts.cold + 1 };
  const isThere = async (): Promise<boolean> =>
    JSON.stringify(await countByStatus()) === JSON.stringify(wanted);
  assert.ok(
    await waitUntil(isThere, { timeoutMs: settledMs, intervalMs: 200 }),
    JSON.stringify(await countByStatus()),
  );
  const awake = counts.warm + counts.running;
  const now = await footprintOf(server);
  say(`footprint of none: ${JSON.stringify(bare)}`);
  say(`footprint of ${JSON.stringify(wanted)}: ${JSON.stringify(now)}`);
  const agents = await childrenOf(server.places, "sprite");
  assert.equal(agents.length, awake);
  assert.equal(now.loopDevices - bare.loopDevices, awake);
  assert.equal(now.runDirectories - bare.runDirectories, awake);
  assert.ok(now.processes > bare.processes);
  await sayMemory();
});

async function sayMemory(): Promise<void> {
  const agents = await childrenOf(server.places, "sprite");
  const sizes = await Promise.all(agents.map(({ pid }) => memoryOf(pid)));
  const mean = (values: readonly number[]): string =>
    (values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length)).toFixed(1);
  const all = sizes.flatMap(({ agentMb, guestMb }) => [agentMb, guestMb]);
  const serverMb = await residentMb(server.pid);
  say(
    `memory (PSS): server ${serverMb.toFixed(0)} MB; each of ${agents.length} with processes: agent ${mean(
      sizes.map(({ agentMb }) => agentMb),
    )} MB, guest ${mean(sizes.map(({ guestMb }) => guestMb))} MB; these in all ${all.reduce((sum, value) => sum + value, 0).toFixed(0)} MB`,
  );
}

test("cold sprites make no request to the bucket", async () => {
  const cold = (await list()).filter(({ status }) => status === "cold");
  assert.equal(cold.length, counts.cold + 1);
  const sinceMs = Date.now();
  await delay(restMs);
  const made = proxy.requests.filter(({ atMs }) => atMs >= sinceMs);
  const ofCold = made.filter(({ target }) => cold.some(({ id }) => target.includes(id)));
  say(
    `${cold.length} cold for ${restMs / 1000} s: ${ofCold.length} requests for them, ${made.length} of the server and the others`,
  );
  assert.deepEqual(ofCold, []);
});

test("a storm of requests to cold sprites is answered, every one", async () => {
  const cold = (await list()).filter(({ status }) => status === "cold").slice(0, stormCount);
  const tookMs: number[] = [];
  const startMs = performance.now();
  const answers = await Promise.all(
    cold.map(async ({ name }) => {
      const answer = await server.request(`/v1/sprites/${name}/exec?cmd=echo&cmd=${name}`, {
        method: "POST",
      });
      const text = await answer.text();
      tookMs.push(performance.now() - startMs);
      return { name, status: answer.status, isRight: text.includes(name), text };
    }),
  );
  const wrong = answers.filter(({ status, isRight }) => status !== 200 || !isRight);
  const sorted = tookMs.toSorted((a, b) => a - b);
  say(
    `storm of ${cold.length}: ${wrong.length} failed; p50 ${percentile(sorted, 0.5)} ms, p99 ${percentile(sorted, 0.99)} ms`,
  );
  assert.deepEqual(wrong, []);
});

test("put to sleep again, they leave the machine as it was without them", async () => {
  await inParallel(
    await list(),
    async ({ name }) => void (await post(`/v1/sprites/${name}/sleep?force=true`)),
  );
  assert.deepEqual(await childrenOf(server.places, "sprite"), []);
  let now = await footprintOf(server);
  const isBare = async (): Promise<boolean> => {
    now = await footprintOf(server);
    return JSON.stringify(now) === JSON.stringify(bare);
  };
  // A network namespace goes a little after the last process that was in it.
  await waitUntil(isBare, { timeoutMs: 30_000, intervalMs: 200 });
  assert.deepEqual(now, bare);
});
