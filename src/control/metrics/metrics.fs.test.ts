import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { endpointGroups } from "../../contract/endpoints/all.ts";
import { noUsage } from "../../contract/usage-report.ts";
import { startHarness } from "../testing/harness.ts";
import { bucketBoundsSeconds, metricTable } from "./metric-table.ts";
import { MetricRecorder } from "./metrics.ts";
import { otherRoute, routeTemplate } from "./route-template.ts";

const adminSecret = "top secret";

async function scrape(baseUrl: string): Promise<string> {
  const headers = { authorization: `Bearer ${adminSecret}` };
  const answer = await fetch(`${baseUrl}/metrics`, { headers });
  assert.equal(answer.status, 200);
  assert.match(answer.headers.get("content-type") ?? "", /^text\/plain; version=0\.0\.4/);
  return await answer.text();
}

test("docs/metrics.md describes every metric, with its type and labels, and no other", () => {
  const page = readFileSync(join(import.meta.dirname, "../../../docs/metrics.md"), "utf8");
  const rows = [...page.matchAll(/^\| `(opensprites_\w+)` \| (\w+) \|([^|]*)\|/gm)];
  const described = rows.map(([, name, type, labels = ""]) => {
    return { name, type, labels: [...labels.matchAll(/`(\w+)`/g)].map(([, label]) => label) };
  });
  const expected = Object.entries(metricTable).map(([name, { type, labels }]) => {
    return { name, type, labels: [...labels] };
  });
  assert.deepEqual(described, expected);
});

test("a path is the template of its route, or other, whatever it is", () => {
  const paths = new Set(
    endpointGroups.flatMap(({ endpoints }) => endpoints.map(({ path }) => path)),
  );
  for (const path of paths) assert.ok([path, otherRoute].includes(routeTemplate(path)), path);
  const known = "/v1/sprites/{name}/services/{service}/logs";
  assert.equal(routeTemplate("/v1/sprites/box/services/web/logs"), known);
  assert.equal(routeTemplate("/v1/sprites/box/fs/read"), "/v1/sprites/{name}/fs/read");
  for (const path of ["/", "", "/v1/sprites//exec", "/v2", `/${"x/".repeat(5_000)}`, "/v1/a/b"]) {
    assert.equal(routeTemplate(path), otherRoute, path);
  }
});

test("histograms add up, and labels cannot break out of their quotes", () => {
  const recorder = new MetricRecorder();
  const name = "opensprites_edge_request_duration_seconds";
  for (const seconds of [0.0004, 0.003, 0.003, 7, 1_000]) {
    recorder.observe(name, seconds, { status: '2"\n\\xx' });
  }
  const text = recorder.render([]);
  const buckets = [...text.matchAll(/_bucket\{status="2\\"\\n\\\\xx",le="([^"]+)"\} (\d+)/g)];
  assert.equal(buckets.length, bucketBoundsSeconds.length + 1);
  assert.equal(buckets.find(([, le]) => le === "0.005")?.[2], "3");
  assert.equal(buckets.find(([, le]) => le === "60")?.[2], "4");
  assert.equal(buckets.at(-1)?.[2], "5");
  assert.match(text, /_count\{[^}]*\} 5$/m);
});

test("series are bounded", () => {
  const recorder = new MetricRecorder();
  for (let index = 0; index < 6_000; index += 1) {
    recorder.count("opensprites_http_upgrades_total", { route: String(index) });
  }
  assert.equal(recorder.render([]).match(/^opensprites_http_upgrades_total/gm)?.length, 5_000);
});

test("requests, creates, states and what the worker reports are counted", async () => {
  await using harness = await startHarness({ adminSecret });
  const { body } = await harness.call("POST", "/v1/sprites", { name: "box" });
  await harness.call("GET", "/v1/sprites/missing");
  const spriteId = String(body.id);
  const report = (processorMs: number, bucketWrites: number) => {
    const counters = { ...noUsage(), processorMs, bucketWrites };
    const stored = { storedBytes: 5_000, cachedBytes: 700 };
    return { meterId: "00000000000000aa", counters, ...stored, atMs: Date.now() };
  };
  // What was used before this server started is not counted by it.
  harness.worker.reportUsage({ spriteId, report: report(10_000, 50) });
  harness.worker.reportUsage({ spriteId, report: report(12_500, 57) });
  harness.worker.usageNow.set(spriteId, report(12_500, 57));
  const text = await scrape(harness.baseUrl);
  for (const line of [
    'opensprites_build_info{version="v0.1.0"} 1',
    'opensprites_sprites{state="running"} 1',
    'opensprites_sprites{state="cold"} 0',
    'opensprites_sprite_create_seconds_count{kind="new"} 1',
    'opensprites_sprite_transitions_total{from="cold",to="running"} 1',
    'opensprites_http_request_duration_seconds_count{method="POST",route="/v1/sprites",status="2xx"} 1',
    'opensprites_http_request_duration_seconds_count{method="GET",route="/v1/sprites/{name}",status="4xx"} 1',
    'opensprites_object_store_requests_total{by="sprites",kind="write"} 7',
    "opensprites_sprites_cpu_seconds_total 2.5",
    "opensprites_stored_bytes 5000",
    "opensprites_cache_bytes 700",
  ]) {
    assert.ok(text.includes(`${line}\n`), `${line} in\n${text}`);
  }
  assert.match(text, /^process_resident_memory_bytes \d+/m);
  assert.match(text, /^nodejs_eventloop_lag_seconds /m);
  assert.ok(!text.includes("box") && !text.includes("acme"), "nobody is named");
  await harness.worker.stop(spriteId);
  assert.match(await scrape(harness.baseUrl), /opensprites_sprites\{state="cold"\} 1\n/);
});

test("metrics are for the admin secret only", async () => {
  await using harness = await startHarness({ adminSecret });
  const status = async (authorization?: string): Promise<number> => {
    const headers = authorization === undefined ? {} : { authorization };
    return (await fetch(`${harness.baseUrl}/metrics`, { headers })).status;
  };
  assert.equal(await status(), 401);
  assert.equal(await status(`Bearer ${harness.token}`), 401);
  assert.equal(await status("Bearer wrong"), 401);
  await using none = await startHarness();
  assert.equal((await fetch(`${none.baseUrl}/metrics`)).status, 401);
});

test("readyz says what keeps the server from its work", async () => {
  const problems: string[] = [];
  await using harness = await startHarness({ problems: () => problems });
  const ask = async () => {
    const answer = await fetch(`${harness.baseUrl}/readyz`);
    return { status: answer.status, body: await answer.json() };
  };
  assert.deepEqual(await ask(), { status: 200, body: { status: "ok" } });
  problems.push("bucket_unreachable");
  const body = { status: "not_ready", problems: ["bucket_unreachable"] };
  assert.deepEqual(await ask(), { status: 503, body });
  assert.equal((await fetch(`${harness.baseUrl}/healthz`)).status, 200);
  harness.control.setDrained(true);
  assert.deepEqual(await ask(), {
    status: 503,
    body: { status: "drained", problems: ["bucket_unreachable"] },
  });
});

test("an address of its own serves metrics to whoever reaches it, by name of sprite if asked", async () => {
  const metrics = { listen: { host: "127.0.0.1", port: 0 }, isPerSprite: true };
  await using harness = await startHarness({ metrics });
  const { body } = await harness.call("POST", "/v1/sprites", { name: "box" });
  const counters = { ...noUsage(), processorMs: 1_500 };
  const report = { meterId: "00000000000000aa", counters, storedBytes: 9, cachedBytes: 1, atMs: 1 };
  harness.worker.usageNow.set(String(body.id), report);
  const { metricsPort } = harness;
  const text = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
  const labels = '{organization="acme",sprite="box"}';
  assert.ok(text.includes(`opensprites_sprite_cpu_seconds_total${labels} 1.5\n`), text);
  assert.equal((await fetch(`http://127.0.0.1:${metricsPort}/v1/sprites`)).status, 404);
});
