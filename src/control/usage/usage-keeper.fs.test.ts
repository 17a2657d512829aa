import assert from "node:assert/strict";
import { test } from "node:test";
import { noUsage, type UsageReport } from "../../contract/usage-report.ts";
import { startHarness, type Harness, type Json } from "../testing/harness.ts";

function report(runningMs: number, storedBytes: number | null = 1_000): UsageReport {
  const counters = { ...noUsage(), runningMs, processorMs: runningMs / 10 };
  const atMs = Date.now();
  return { meterId: "00000000000000aa", counters, storedBytes, cachedBytes: null, atMs };
}

async function total(harness: Harness, query = ""): Promise<Json> {
  const from = new Date(Date.now() - 86_400_000).toISOString();
  const { status, body } = await harness.call("GET", `/v1/usage?from=${from}${query}`);
  assert.equal(status, 200, JSON.stringify(body));
  return body["total"] as Json;
}

async function makeSprite(harness: Harness, name: string): Promise<string> {
  const { body } = await harness.call("POST", "/v1/sprites", { name, labels: ['=cmd"', "b"] });
  return String(body.id);
}

test("what the worker reports is in the answer, once, and in the registry", async () => {
  await using harness = await startHarness();
  const spriteId = await makeSprite(harness, "box");
  harness.worker.reportUsage({ spriteId, report: report(10_000) });
  assert.equal((await total(harness))["running_seconds"], 10);
  harness.worker.reportUsage({ spriteId, report: report(15_000) });
  harness.worker.reportUsage({ spriteId, report: report(12_000) });
  harness.worker.reportUsage({ spriteId, report: report(15_000) });
  assert.equal((await total(harness))["running_seconds"], 15);
  assert.equal((await total(harness, "&sprite=other"))["running_seconds"], 0);
});

test("a server that comes after a killed one hears what that had not written, and no more", async () => {
  await using first = await startHarness();
  const spriteId = await makeSprite(first, "box");
  first.worker.reportUsage({ spriteId, report: report(10_000) });
  assert.equal((await total(first))["running_seconds"], 10);
  await using second = await startHarness({ dataDirectory: first.dataDirectory });
  second.worker.keptUsage.push({ spriteId, report: report(14_000) });
  await second.worker.tellKeptUsage();
  await second.worker.tellKeptUsage();
  assert.equal((await total(second))["running_seconds"], 14);
});

test("a sprite that is deleted keeps what it used, to its last report", async () => {
  await using harness = await startHarness();
  const spriteId = await makeSprite(harness, "box");
  harness.worker.reportUsage({ spriteId, report: report(10_000) });
  const { worker } = harness;
  const destroy = worker.destroy.bind(worker);
  worker.destroy = async (id) => {
    worker.reportUsage({ spriteId: id, report: report(17_000) });
    await destroy(id);
  };
  assert.equal((await harness.call("DELETE", "/v1/sprites/box")).status, 204);
  assert.equal((await total(harness))["running_seconds"], 17);
  assert.equal((await total(harness, "&sprite=box"))["running_seconds"], 17);
  // Whose it is nobody can say any more; nor does it count for whoever has the name next.
  worker.reportUsage({ spriteId, report: report(99_000) });
  assert.equal((await total(harness))["running_seconds"], 17);
});

test("another organization sees nothing of it", async () => {
  await using harness = await startHarness({ adminSecret: "top secret" });
  const spriteId = await makeSprite(harness, "box");
  harness.worker.reportUsage({ spriteId, report: report(10_000) });
  const minted = await fetch(`${harness.baseUrl}/v1/organizations/other/tokens`, {
    method: "POST",
    headers: { authorization: "FlyV1 top secret" },
  });
  const { token } = (await minted.json()) as { token: string };
  const headers = { authorization: `Bearer ${token}` };
  const answer = await fetch(`${harness.baseUrl}/v1/usage`, { headers });
  assert.deepEqual(((await answer.json()) as Json)["usage"], []);
  assert.equal((await fetch(`${harness.baseUrl}/v1/usage`)).status, 401);
});

test("CSV quotes what a spreadsheet would run", async () => {
  await using harness = await startHarness();
  const spriteId = await makeSprite(harness, "box");
  harness.worker.reportUsage({ spriteId, report: report(10_000) });
  const from = new Date(Date.now() - 86_400_000).toISOString();
  const answer = await fetch(`${harness.baseUrl}/v1/usage?by=label&from=${from}`, {
    headers: { authorization: `Bearer ${harness.token}`, accept: "text/csv" },
  });
  assert.match(answer.headers.get("content-type") ?? "", /^text\/csv/);
  const lines = (await answer.text()).split("\r\n");
  assert.match(lines[0] ?? "", /^label,running_seconds,warm_seconds,cpu_seconds,/);
  assert.match(lines[1] ?? "", /^"'=cmd""",10,0,1,/);
  assert.match(lines[2] ?? "", /^b,10,0,1,/);
  assert.equal(lines[3], "");
});

test("what cannot be asked is refused with what is wrong", async () => {
  await using harness = await startHarness();
  const refused: [string, RegExp][] = [
    ["from=yesterday", /^from: expected a date/],
    ["from=2026-02-30T99:00:00Z", /^from: expected a date/],
    ["from=2026-05-01&to=2026-04-01", /^from: it is after to/],
    ["from=2020-01-01&to=2026-01-01", /^from: at most 400 days/],
    ["from=2026-01-01&to=2026-03-01&by=hour", /^from: at most 35 days/],
    ["by=colour", /^by: expected sprite, label, day, hour/],
    ["sprite=Not%20a%20name", /^sprite:/],
    ["format=xml", /^format: expected json, csv/],
    ["max_results=many", /^max_results:/],
    ["continuation_token=AAAA", /^continuation_token:/],
  ];
  for (const [query, message] of refused) {
    const { status, body } = await harness.call("GET", `/v1/usage?${query}`);
    assert.equal(status, 400, query);
    assert.equal(body["error"], "invalid_request");
    assert.match(String(body["message"]), message);
  }
  assert.equal((await harness.call("POST", "/v1/usage")).status, 405);
  assert.equal((await harness.call("GET", "/v1/usage/more")).status, 404);
});
