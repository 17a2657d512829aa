import assert from "node:assert/strict";
import { test } from "node:test";

import { limitsUnderPolicy } from "./resource-limits.ts";

const limits = { memoryBytesMax: 2 ** 30, cpuCoresMax: 2, pidsMax: 4096 };

test("a policy takes away and never gives", () => {
  assert.deepEqual(limitsUnderPolicy(limits, {}), limits);
  const less = { memory: { limit_mb: 512 }, cpu: { limit_cores: 0.5 }, pids: { limit: 100 } };
  assert.deepEqual(limitsUnderPolicy(limits, less), {
    memoryBytesMax: 2 ** 29,
    cpuCoresMax: 0.5,
    pidsMax: 100,
  });
  const more = { memory: { limit_mb: 4096 }, cpu: { limit_cores: 8 }, pids: { limit: 9999 } };
  assert.deepEqual(limitsUnderPolicy(limits, more), limits);
});

test("with autoscale the limit is soft, and the server's own is the hard one", () => {
  const soft = { memory: { limit_mb: 256, autoscale: true } };
  assert.deepEqual(limitsUnderPolicy(limits, soft), { ...limits, memorySoftBytes: 2 ** 28 });
  assert.deepEqual(
    limitsUnderPolicy(limits, { memory: { limit_mb: 4096, autoscale: true } }),
    limits,
  );
});
