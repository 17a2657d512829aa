import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

import { createLog } from "../base/log.ts";
import { waitUntil } from "../base/wait.ts";
import type { SpriteLimits } from "../contract/agent-startup.ts";
import { SpriteError } from "../contract/errors.ts";
import type { PrivilegesPolicy, SpritePolicy } from "../contract/policy.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import { parsePolicyBody, Policy } from "./policy.ts";

const log = createLog({ level: "silent", room: "test" });
const directory = mkdtempSync(join(tmpdir(), "agent-policy-"));
after(() => rmSync(directory, { recursive: true }));

const limits = { memoryBytesMax: 2 ** 30, cpuCoresMax: 2, pidsMax: 4096 };
const none: SpritePolicy = { network: { rules: [] }, privileges: {}, resources: {} };
const half: SpritePolicy = { ...none, resources: { memory: { limit_mb: 512 } } };

/** A container that writes down what is asked of it. */
class FakeSandbox {
  readonly set: number[] = [];
  cuts = 0;
  refuses = false;
  privileges: PrivilegesPolicy | null = {};

  async setLimits({ memoryBytesMax }: SpriteLimits): Promise<void> {
    if (this.refuses) throw new SpriteError("conflict", "it uses more");
    this.set.push(memoryBytesMax / 2 ** 20);
  }

  async cutConnections(): Promise<void> {
    this.cuts += 1;
  }
}

function policyOf(sandbox: FakeSandbox, policy = none): Policy {
  return new Policy({
    startup: { limits, policy },
    dotSpriteDirectory: directory,
    sandbox: () => sandbox as unknown as Sandbox,
    log,
  });
}

const shown = (kind: string): unknown =>
  JSON.parse(readFileSync(join(directory, `policy/${kind}.json`), "utf8"));

test("a change reaches what runs, as far as it concerns it, and is shown inside", async () => {
  const sandbox = new FakeSandbox();
  const policy = policyOf(sandbox);
  await policy.change(half);
  assert.deepEqual([sandbox.set, sandbox.cuts], [[512], 0]);
  const network = { rules: [{ domain: "a.example", action: "allow" as const }] };
  await policy.change({ ...half, network });
  assert.deepEqual([sandbox.set, sandbox.cuts], [[512], 1]);
  assert.deepEqual([shown("network"), shown("resources")], [network, half.resources]);
});

test("a change that the container refuses is none", async () => {
  const sandbox = new FakeSandbox();
  const policy = policyOf(sandbox);
  sandbox.refuses = true;
  await assert.rejects(policy.change(half), { code: "conflict" });
  assert.equal(policy.limits.memoryBytesMax, limits.memoryBytesMax);
});

test("a container that was made before a change gets it when it runs", async () => {
  const sandbox = new FakeSandbox();
  const policy = policyOf(sandbox);
  const made = policy.make(() => sandbox as unknown as Sandbox);
  await policy.change(half);
  sandbox.set.length = 0;
  policy.onContainer(made, { isAdopted: false });
  assert.ok(await waitUntil(() => sandbox.set.length > 0, { timeoutMs: 30_000 }));
  assert.deepEqual(sandbox.set, [512]);
});

test("a container of an agent that died gets what may have changed meanwhile", async () => {
  const sandbox = new FakeSandbox();
  const policy = policyOf(sandbox, half);
  policy.onContainer(sandbox as unknown as Sandbox, { isAdopted: true });
  assert.ok(await waitUntil(() => sandbox.set.length > 0, { timeoutMs: 30_000 }));
  assert.deepEqual(sandbox.set, [512]);
  const unbound = new FakeSandbox();
  policyOf(unbound).onContainer(unbound as unknown as Sandbox, { isAdopted: true });
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(unbound.set, []);
});

test("privileges that a container was not started with are pending", async () => {
  const sandbox = new FakeSandbox();
  const policy = policyOf(sandbox);
  assert.deepEqual(policy.pending(), []);
  await policy.change({ ...none, privileges: { profile: "minimal" } });
  assert.deepEqual(policy.pending(), ["privileges"]);
  sandbox.privileges = { profile: "minimal" };
  assert.deepEqual(policy.pending(), []);
});

test("only a policy is one", () => {
  assert.deepEqual(parsePolicyBody(half), half);
  for (const body of [null, {}, { network: {} }, [], { ...none, network: { rules: 1 } }]) {
    assert.throws(() => parsePolicyBody(body), { code: "invalid_request" });
  }
});
