import assert from "node:assert/strict";
import { test } from "node:test";

import { noPolicy } from "./policy.ts";
import { parseIdentityBody } from "./sprite-identity.ts";

test("an identity is told from what is none", () => {
  const identity = {
    name: "box",
    environment: { A: "b" },
    durability: "durable",
    policy: noPolicy(),
    idleWindowMs: null,
  } as const;
  assert.deepEqual(parseIdentityBody(identity), identity);
  for (const body of [
    null,
    7,
    {},
    { ...identity, name: 7 },
    { ...identity, environment: null },
    { ...identity, durability: "never" },
    { ...identity, policy: {} },
    { ...identity, policy: null },
    { ...identity, idleWindowMs: "30s" },
  ]) {
    assert.throws(() => parseIdentityBody(body), { code: "invalid_request" });
  }
});
