/** Whatever comes in, the answer is a documented error, and nothing is harmed. */

import assert from "node:assert/strict";
import { test } from "node:test";

import fc from "fast-check";

import { startHarness, type Harness } from "./testing/harness.ts";
import { sendRaw } from "./testing/raw-http.ts";

/** A failure must not depend on the day; another seed is one edit away. */
const timeLimit = {
  seed: 20_261_124,
  interruptAfterTimeLimit: 4000,
  markInterruptAsFailure: false,
  numRuns: 2000,
};

const documented = new Map([
  [400, ["invalid_request", "expired_token", "authorization_pending", "slow_down"]],
  [403, ["forbidden"]],
  [404, ["not_found"]],
  [405, ["method_not_allowed"]],
  [409, ["already_exists"]],
  [413, ["payload_too_large"]],
  [429, ["rate_limited"]],
  [431, ["headers_too_large"]],
]);

async function startWithSprite(): Promise<Harness> {
  const harness = await startHarness();
  const { status } = await harness.call("POST", "/v1/sprites", { name: "box", labels: ["kept"] });
  assert.equal(status, 201);
  return harness;
}

function assertDocumented(status: number, body: string): void {
  assert.ok(status < 500, `${status} ${body.slice(0, 200)}`);
  if (status < 400) return;
  const parsed = JSON.parse(body) as { error: string; message: string };
  assert.ok(documented.get(status)?.includes(parsed.error), `${status} ${parsed.error}`);
  assert.ok(parsed.message.length > 0 && parsed.message.length < 500);
}

/** The sprite that nobody named is as it was, and its agent heard of nothing but requests of its own. */
async function assertUnharmed(harness: Harness): Promise<void> {
  const { status, body } = await harness.call("GET", "/v1/sprites/box");
  assert.equal(status, 200);
  assert.partialDeepStrictEqual(body, { name: "box", status: "running", labels: ["kept"] });
  const { startCount, created, forkedFrom } = harness.worker;
  assert.equal(startCount, created.length - forkedFrom.length);
  for (const { url } of harness.worker.agentOf(String(body.id)).seen) {
    assert.ok(/^\/v1\/sprites\/(?:b|%62)(?:o|%6f)(?:x|%78)\//i.test(url), url);
  }
}

const nasty = fc.constantFrom(
  "..",
  ".",
  "%2e%2e",
  "%2E.",
  "%2f",
  "%2F..%2f",
  "%00",
  "%",
  "%zz",
  "%ff",
  "%c0%ae",
  "%252e",
  "",
  "x".repeat(8192),
  "box%20",
  "box;a=1",
  "BOX",
  "b%6fx",
  "box",
  "v1",
  "sprites",
  "organizations",
  "tokens",
  "exec",
  "check",
  "restart",
  "*",
  "~",
  "'",
  '"',
  "<script>",
  "\\",
  "-",
  "_",
  "constructor",
  "__proto__",
);
const visible = fc.string({
  unit: fc.integer({ min: 33, max: 126 }).map((code) => String.fromCharCode(code)),
});

test("paths and queries", async () => {
  await using harness = await startWithSprite();
  const segments = fc.array(fc.oneof(nasty, visible), { maxLength: 6 });
  const start = fc.constantFrom("/", "/v1/sprites/", "/v1/", "//", "/v1/organizations/", "");
  const query = fc.oneof(
    fc.constant(""),
    visible.map((text) => `?${text}`),
    fc
      .constantFrom("?max_results=", "?max_results=1e9", "?continuation_token=%00", "?prefix=%ff")
      .map(String),
  );
  // Deleting or restarting by the right name would be no harm.
  const method = fc.constantFrom("GET", "PUT", "PATCH", "OPTIONS", "HEAD", "PROPFIND");
  await fc.assert(
    fc.asyncProperty(method, start, segments, query, async (verb, prefix, parts, search) => {
      const target = `${prefix}${parts.join("/")}${search}`.replace(/^$/, "/");
      const head = `${verb} ${target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${harness.token}\r\n`;
      const { status, body, headers } = await sendRaw(
        harness.port,
        `${head}Content-Length: 0\r\nConnection: close\r\n\r\n`,
      );
      if (verb === "HEAD" && status >= 200) {
        assert.ok(status < 500);
        return;
      }
      // Refused by the HTTP parser, or by us: with the same shape.
      assert.ok(status >= 200, `no answer to ${JSON.stringify(target.slice(0, 100))}`);
      assert.ok("sprite-version" in headers);
      assertDocumented(status, body);
    }),
    timeLimit,
  );
  await assertUnharmed(harness);
});

test("bodies", async () => {
  await using harness = await startWithSprite();
  const key = fc.constantFrom(
    "name",
    "config",
    "environment",
    "labels",
    "url_settings",
    "clear_labels",
    "wait_for_capacity",
    "runtime",
    "from",
    "durability",
    "client",
    "device_code",
    "description",
    "rules",
    "profile",
    "devices",
    "memory",
    "__proto__",
    "x",
  );
  const value = fc.oneof(
    fc.jsonValue({ maxDepth: 3 }),
    fc.constantFrom<unknown>(
      "box",
      "a".repeat(64),
      "../x",
      "a\0b",
      -1,
      1e300,
      { sprite: "victim" },
      { sprite: "victim", checkpoint: "v" },
      { sprite: ["victim"] },
      { ram_mb: "1" },
      { limit_mb: -1 },
      [{ domain: "*.example.com", action: "allow" }],
      [{ domain: "\u0000", action: "allow", include: "defaults" }],
      { auth: "none" },
      [[]],
      [null],
    ),
  );
  const json = fc.dictionary(key, value, { maxKeys: 6 }).map((body) => JSON.stringify(body));
  const broken = fc.oneof(
    visible,
    fc.constantFrom(
      "{",
      "nul",
      '{"name":}',
      "[".repeat(100_000),
      '{"name":"\\ud800"}',
      '"text"',
      "7",
      "null",
      "[]",
    ),
  );
  const bytes = fc.oneof(
    fc.oneof(json, broken).map((text) => Buffer.from(text)),
    fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array)),
  );
  const call = fc.constantFrom(
    ["POST", "/v1/sprites"],
    ["PUT", "/v1/sprites/nobody"],
    ["PUT", "/v1/sprites/victim"],
    ["POST", "/v1/organizations/acme/tokens"],
    ["POST", "/v1/organizations/..%2Facme/tokens"],
    ["DELETE", "/v1/organizations/acme/tokens/x"],
    ["POST", "/login/device"],
    ["POST", "/login/device/token"],
    ["POST", "/login"],
    ["POST", "/v1/sprites/victim/policy/network"],
    ["POST", "/v1/sprites/victim/policy/privileges"],
    ["POST", "/v1/sprites/victim/policy/resources"],
  );
  await harness.call("POST", "/v1/sprites", { name: "victim" });
  await fc.assert(
    fc.asyncProperty(call, bytes, async ([method = "POST", path = ""], body) => {
      const headers = { authorization: `Bearer ${harness.token}` };
      const init: RequestInit = { method, headers };
      init.body = body;
      const response = await fetch(harness.baseUrl + path, init);
      assertDocumented(response.status, await response.text());
      if (response.status === 201) return;
      const { body: victim } = await harness.call("GET", "/v1/sprites/victim");
      assert.ok(Array.isArray(victim["labels"]) && victim.name === "victim");
    }),
    timeLimit,
  );
  await assertUnharmed(harness);
});
