/** A sprite's policies, as the official client and plain HTTP set them. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { SpritesClient } from "@fly/sprites";

import { SpriteError } from "../contract/errors.ts";
import { startHarness } from "./testing/harness.ts";

const path = "/v1/sprites/box/policy";

test("contract 15.5: a network policy is answered with 204 and comes back as it was given", async () => {
  await using harness = await startHarness();
  const { call, worker } = harness;
  await call("POST", "/v1/sprites", { name: "box" });
  const sprite = new SpritesClient(harness.token, { baseURL: harness.baseUrl }).sprite("box");
  assert.deepEqual(await sprite.getNetworkPolicy(), { rules: [] });
  const policy = {
    rules: [
      { domain: "Example.COM", action: "allow" as const },
      { domain: "*.tracker.example", action: "deny" as const },
      { include: "defaults" },
    ],
  };
  await sprite.updateNetworkPolicy(policy);
  assert.deepEqual(await sprite.getNetworkPolicy(), policy);
  assert.equal((await call("POST", `${path}/network`, policy)).status, 204);
  assert.deepEqual(worker.configured.at(-1)?.policy.network, policy);
  const bad = sprite.updateNetworkPolicy({ rules: [{ domain: "x.example" }] });
  await assert.rejects(bad, /Invalid policy: .*action: expected allow or deny/);
  assert.deepEqual(await sprite.getNetworkPolicy(), policy);
});

test("a network policy that means nothing is refused with what is wrong", async () => {
  await using harness = await startHarness();
  const { call, worker } = harness;
  await call("POST", "/v1/sprites", { name: "box" });
  const cases: Array<[unknown, RegExp]> = [
    [{}, /rules/],
    [{ rules: "all" }, /array/],
    [{ rules: [{ domain: "a.example", action: "maybe" }] }, /allow or deny/],
    [{ rules: [{ domain: "a.example" }] }, /allow or deny/],
    [{ rules: [{ action: "allow" }] }, /domain or include/],
    [{ rules: [{ domain: "", action: "allow" }] }, /domain name/],
    [{ rules: [{ domain: "a.example", action: "allow", include: "defaults" }] }, /not both/],
    [{ rules: [{ include: "everything" }] }, /unknown list/],
    [{ rules: [{ include: "defaults", action: "deny" }] }, /only be allowed/],
    [{ rules: [{ domain: "192.0.2.1", action: "allow" }] }, /addresses/],
    [{ rules: [{ domain: "a.*.example", action: "allow" }] }, /domain name/],
    [{ rules: [{ domain: "https://a.example/", action: "allow" }] }, /domain name/],
    [{ rules: Array.from({ length: 1001 }, () => ({ include: "defaults" })) }, /at most 1000/],
  ];
  for (const [body, expected] of cases) {
    const answer = await call("POST", `${path}/network`, body);
    assert.equal(answer.status, 400, JSON.stringify(body).slice(0, 100));
    assert.match(String(answer.body["message"]), expected);
  }
  assert.deepEqual(worker.configured, []);
});

test("privileges and resources are set, shown and taken back", async () => {
  await using harness = await startHarness();
  const { call, worker } = harness;
  await call("POST", "/v1/sprites", { name: "box" });
  const sprite = new SpritesClient(harness.token, { baseURL: harness.baseUrl }).sprite("box");
  assert.deepEqual(await sprite.getPrivilegesPolicy(), {});
  assert.deepEqual(await sprite.getResourcesPolicy(), { memory: undefined });
  const privileges = {
    profile: "minimal" as const,
    devices: ["null", "urandom"],
    noNewPrivileges: true,
  };
  await sprite.updatePrivilegesPolicy(privileges);
  assert.deepEqual(await sprite.getPrivilegesPolicy(), privileges);
  await sprite.updateResourcesPolicy({ memory: { limitMB: 512, autoscale: true } });
  assert.deepEqual(await sprite.getResourcesPolicy(), {
    memory: { limitMB: 512, autoscale: true },
  });
  assert.deepEqual(worker.configured.at(-1)?.policy, {
    network: { rules: [] },
    privileges,
    resources: { memory: { limit_mb: 512, autoscale: true } },
  });
  await sprite.deletePrivilegesPolicy();
  await sprite.deleteResourcesPolicy();
  assert.deepEqual(await sprite.getPrivilegesPolicy(), {});
  assert.deepEqual((await call("GET", `${path}/resources`)).body, {});
});

test("what a policy cannot give is refused", async () => {
  await using harness = await startHarness();
  const { call, worker } = harness;
  await call("POST", "/v1/sprites", { name: "box" });
  const cases: Array<[string, unknown]> = [
    ["privileges", { profile: "root" }],
    ["privileges", { devices: ["sda"] }],
    ["privileges", { noNewPrivileges: "yes" }],
    ["privileges", []],
    ["resources", { memory: { limit_mb: 1 } }],
    ["resources", { memory: { limit_mb: 512.5 } }],
    ["resources", { memory: {} }],
    ["resources", { memory: { limit_mb: 2048 } }],
    ["resources", { cpu: { limit_cores: 3 } }],
    ["resources", { pids: { limit: 5000 } }],
  ];
  for (const [kind, body] of cases) {
    const answer = await call("POST", `${path}/${kind}`, body);
    assert.equal(answer.status, 400, JSON.stringify([kind, body, answer.body]));
  }
  assert.deepEqual(worker.configured, []);
  assert.equal((await call("DELETE", `${path}/network`)).status, 405);
  for (const other of [path, `${path}/disk`, `${path}/network/rules`]) {
    assert.equal((await call("GET", other)).status, 404, other);
  }
  assert.equal((await call("GET", "/v1/sprites/nobody/policy/network")).status, 404);
});

test("a policy that the running sprite does not take changes nothing", async () => {
  await using harness = await startHarness();
  const { call, worker } = harness;
  await call("POST", "/v1/sprites", { name: "box" });
  worker.configureError = new SpriteError("conflict", "it uses more");
  const answer = await call("POST", `${path}/resources`, { memory: { limit_mb: 64 } });
  assert.equal(answer.status, 409);
  assert.deepEqual((await call("GET", `${path}/resources`)).body, {});
});

test("a policy wakes nobody, is inherited by forks and goes with an archive", async () => {
  await using harness = await startHarness();
  const { call, worker, baseUrl, token } = harness;
  const { id = "" } = (await call("POST", "/v1/sprites", { name: "box" })).body;
  await worker.stop(id);
  const startsBefore = worker.startCount;
  const policy = { rules: [{ domain: "example.com", action: "allow" }] };
  assert.equal((await call("POST", `${path}/network`, policy)).status, 204);
  assert.deepEqual((await call("GET", `${path}/network`)).body, policy);
  assert.equal(worker.startCount, startsBefore);

  await call("POST", "/v1/sprites", { name: "fork", from: { sprite: "box" } });
  assert.deepEqual((await call("GET", "/v1/sprites/fork/policy/network")).body, policy);
  const headers = { authorization: `Bearer ${token}` };
  const archive = await (await fetch(`${baseUrl}/v1/sprites/box/export`, { headers })).text();
  const target = `${baseUrl}/v1/sprites/copy/import`;
  const imported = await fetch(target, { method: "POST", headers, body: archive });
  assert.equal(imported.status, 201);
  assert.deepEqual((await call("GET", "/v1/sprites/copy/policy/network")).body, policy);
});
