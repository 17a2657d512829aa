import assert from "node:assert/strict";
import test from "node:test";

import { encodeConnected, encodeNotConnected, parseTunnelTarget } from "./proxy.ts";

test("a tunnel's target is a host and a port; no host is the sprite itself", () => {
  const plain = { host: "localhost", port: 5432, halfClose: false };
  assert.deepEqual(parseTunnelTarget('{"host":"localhost","port":5432}'), plain);
  assert.deepEqual(parseTunnelTarget('{"host":"","port":5432}'), plain);
  assert.deepEqual(parseTunnelTarget('{"port":"5432","more":[]}'), plain);
  assert.equal(parseTunnelTarget('{"host":"[::1]","port":1}').host, "::1");
  assert.equal(parseTunnelTarget('{"host":"db_1.my-net.internal","port":1}').port, 1);
  assert.equal(parseTunnelTarget('{"port":1,"half_close":true}').halfClose, true);
});

test("what is no target is refused", () => {
  for (const text of [
    "",
    "{",
    "null",
    "7",
    '{"host":"localhost"}',
    '{"host":"localhost","port":0}',
    '{"host":"localhost","port":65536}',
    '{"host":"localhost","port":1.5}',
    '{"host":7,"port":1}',
    '{"host":"-x","port":1}',
    '{"host":"a b","port":1}',
    '{"host":"a/../b","port":1}',
    '{"host":"a\\u0000b","port":1}',
    '{"host":"fe80::1%eth0","port":1}',
    JSON.stringify({ host: "a".repeat(254), port: 1 }),
  ]) {
    assert.throws(() => parseTunnelTarget(text), { code: "invalid_request" }, text);
  }
});

test("answers name the target as clients show it", () => {
  const target = { host: "::1", port: 80, halfClose: false };
  assert.equal(encodeConnected(target), '{"status":"connected","target":"[::1]:80"}');
  const refusal = { target: null, code: "invalid_request", error: "no" } as const;
  assert.deepEqual(JSON.parse(encodeNotConnected(refusal)), {
    ...{ status: "error", target: "", error: "no", code: "invalid_request" },
  });
});
