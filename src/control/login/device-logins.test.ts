import assert from "node:assert/strict";
import { test } from "node:test";

import { SpriteError } from "../../contract/errors.ts";
import {
  loginLifetimeMs,
  loginPollIntervalMs,
  loginsPerAddressMax,
  loginsWaitingMax,
} from "../limits.ts";
import { DeviceLogins } from "./device-logins.ts";

const here = { client: "sprite on laptop", address: "127.0.0.1" };

function withClock(): { logins: DeviceLogins; pass(ms: number): void } {
  let nowMs = 1_000_000;
  const logins = new DeviceLogins(() => nowMs);
  return { logins, pass: (ms) => (nowMs += ms) };
}

test("a login waits, is approved once, and its answer is given once", () => {
  const { logins, pass } = withClock();
  const { deviceCode, userCode } = logins.start(here);
  assert.match(userCode, /^[B-Z]{4}-[B-Z]{4}$/);
  assert.deepEqual(logins.poll(deviceCode), { kind: "waiting" });
  assert.deepEqual(logins.poll(deviceCode), { kind: "tooEarly" });
  const typed = userCode.toLowerCase().replace("-", "  ");
  assert.deepEqual(logins.find(typed), { ...here, userCode });
  assert.ok(logins.settle(typed, { kind: "approved", organizationSlug: "acme", role: "member" }));
  assert.equal(logins.find(userCode), null, "nobody can approve it again for somebody else");
  assert.ok(!logins.settle(userCode, { kind: "denied" }));
  pass(loginPollIntervalMs);
  const approved = {
    kind: "approved",
    organizationSlug: "acme",
    role: "member",
    client: here.client,
  };
  assert.deepEqual(logins.poll(deviceCode), approved);
  assert.deepEqual(logins.poll(deviceCode), { kind: "unknown" });
});

test("the person's code fetches no token, and neither does a refused or an old login", () => {
  const { logins, pass } = withClock();
  const refused = logins.start(here);
  const old = logins.start(here);
  assert.deepEqual(logins.poll(refused.userCode), { kind: "unknown" });
  assert.ok(logins.settle(refused.userCode, { kind: "denied" }));
  assert.deepEqual(logins.poll(refused.deviceCode), { kind: "denied" });
  assert.ok(
    logins.settle(old.userCode, { kind: "approved", organizationSlug: "acme", role: "member" }),
  );
  pass(loginLifetimeMs);
  assert.deepEqual(logins.poll(old.deviceCode), { kind: "unknown" });
});

test("waiting logins are bounded, by address and together", () => {
  const { logins, pass } = withClock();
  const refuses = (address: string): void =>
    assert.throws(
      () => logins.start({ ...here, address }),
      (error) =>
        error instanceof SpriteError &&
        error.code === "rate_limited" &&
        Number(error.details["retry_after_seconds"]) >= 1,
    );
  for (let i = 0; i < loginsPerAddressMax; i++) logins.start(here);
  refuses(here.address);
  for (let i = loginsPerAddressMax; i < loginsWaitingMax; i++) {
    logins.start({ ...here, address: `10.0.${i >> 8}.${i & 255}` });
  }
  refuses("192.0.2.1");
  pass(loginLifetimeMs);
  logins.start(here);
});
