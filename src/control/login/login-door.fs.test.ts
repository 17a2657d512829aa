import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import type { DeviceLoginObject, DeviceTokenObject } from "../../contract/login.ts";
import { Browser } from "../testing/browser.ts";
import { startHarness, type Harness } from "../testing/harness.ts";
import { failedAttemptsMax } from "../limits.ts";

const adminSecret = "an-admin-secret-for-tests";

describe("login", () => {
  let harness: Harness;
  before(async () => {
    harness = await startHarness({ adminSecret });
  });
  after(async () => {
    await harness[Symbol.asyncDispose]();
  });
  const post = async (path: string, body: object): Promise<{ status: number; body: unknown }> => {
    const response = await fetch(harness.baseUrl + path, {
      method: "POST",
      body: JSON.stringify(body),
    });
    return { status: response.status, body: await response.json() };
  };
  const start = async (client = "sprite on laptop"): Promise<DeviceLoginObject> => {
    const { status, body } = await post("/login/device", { client });
    assert.equal(status, 200);
    return body as DeviceLoginObject;
  };
  const poll = async (login: DeviceLoginObject): Promise<{ status: number; body: unknown }> =>
    await post("/login/device/token", { device_code: login.device_code });
  const visit = async (login: DeviceLoginObject): Promise<Browser> => {
    const browser = new Browser(harness.baseUrl);
    const response = await browser.open(`/login?user_code=${login.user_code}`);
    assert.equal(response.status, 200);
    return browser;
  };

  test("a holder of a token lets a command line in, which gets a token of its own", async () => {
    const login = await start();
    assert.equal(login.verification_uri, `${harness.baseUrl}/login`);
    assert.partialDeepStrictEqual(await poll(login), {
      status: 400,
      body: { error: "authorization_pending" },
    });
    const browser = await visit(login);
    assert.ok(browser.page.includes(login.user_code));
    assert.ok(browser.page.includes("sprite on laptop"));
    const approved = await browser.send({ user_code: login.user_code, credential: harness.token });
    assert.equal(approved.status, 200);
    const { status, body } = await poll(login);
    assert.equal(status, 200);
    const { token, organization } = body as DeviceTokenObject;
    assert.equal(organization, "acme");
    assert.notEqual(token, harness.token);
    const headers = { authorization: `Bearer ${token}` };
    const listed = await fetch(`${harness.baseUrl}/v1/organizations/acme/tokens`, { headers });
    const { tokens } = (await listed.json()) as {
      tokens: { description: string; is_current: boolean }[];
    };
    assert.partialDeepStrictEqual(
      tokens.find(({ is_current }) => is_current),
      { description: "sprite on laptop" },
    );
    assert.ok(!JSON.stringify(tokens).includes(token.split("/")[3] ?? ""), "no secret is listed");
    const current = `${harness.baseUrl}/v1/organizations/acme/tokens/current`;
    assert.equal((await fetch(current, { method: "DELETE", headers })).status, 204);
    assert.equal((await fetch(`${harness.baseUrl}/v1/sprites`, { headers })).status, 401);
    assert.equal((await harness.call("GET", "/v1/sprites")).status, 200, "others are not touched");
    assert.partialDeepStrictEqual(await poll(login), { body: { error: "expired_token" } });
  });

  test("the admin secret lets in for any organization, which it has to name", async () => {
    const login = await start();
    const browser = await visit(login);
    const fields = { user_code: login.user_code, credential: adminSecret };
    for (const organization of ["", "No Such", "../x"]) {
      const refused = await browser.send({ ...fields, organization });
      assert.equal(refused.status, 403);
      assert.match(browser.page, /Name the organization/);
    }
    assert.equal((await browser.send({ ...fields, organization: "brand-new" })).status, 200);
    assert.partialDeepStrictEqual(await poll(login), {
      status: 200,
      body: { organization: "brand-new" },
    });
  });

  test("a refusal reaches the command line", async () => {
    const login = await start();
    const browser = await visit(login);
    assert.equal((await browser.send({ user_code: login.user_code, action: "deny" })).status, 200);
    assert.partialDeepStrictEqual(await poll(login), {
      status: 400,
      body: { error: "access_denied" },
    });
  });

  test("a form from another site, or without our cookie, approves nothing", async () => {
    const login = await start();
    const fields = { user_code: login.user_code, credential: harness.token };
    const browser = await visit(login);
    const attempts = [
      browser.send(fields, { cookie: "" }),
      browser.send(fields, { cookie: "sprites_login=guessed" }),
      browser.send({ ...fields, csrf: "" }, { cookie: "sprites_login=" }),
      browser.send(fields, { origin: "https://evil.example" }),
      browser.send(fields, { origin: "null" }),
      browser.send(fields, { "sec-fetch-site": "cross-site" }),
    ];
    for (const { status } of await Promise.all(attempts)) assert.equal(status, 403);
    assert.partialDeepStrictEqual(await poll(login), { body: { error: "authorization_pending" } });
  });

  test("what a device says of itself is shown as text, and the page allows neither scripts nor frames", async () => {
    const login = await start(`<script>alert("x")</script>`);
    const browser = new Browser(harness.baseUrl);
    const response = await browser.open(`/login?user_code=${login.user_code}`);
    assert.ok(!browser.page.includes("<script"));
    assert.ok(browser.page.includes("&lt;script&gt;"));
    const policy = response.headers.get("content-security-policy") ?? "";
    assert.match(policy, /default-src 'none'/);
    assert.match(policy, /frame-ancestors 'none'/);
    assert.equal(response.headers.get("cache-control"), "no-store");
    assert.match(response.headers.get("set-cookie") ?? "", /HttpOnly; SameSite=Strict/);
  });

  test("bodies are checked, and other methods and paths are refused", async () => {
    for (const body of [
      { client: "line\nbreak" },
      { client: "x".repeat(101) },
      { client: 1 },
      [],
    ]) {
      assert.equal((await post("/login/device", body)).status, 400);
    }
    assert.equal((await post("/login/device/token", {})).status, 400);
    assert.equal((await fetch(`${harness.baseUrl}/login/device`)).status, 405);
    assert.equal((await fetch(`${harness.baseUrl}/login/elsewhere`)).status, 404);
    const browser = new Browser(harness.baseUrl);
    assert.equal((await browser.open("/login")).status, 200);
    assert.equal((await browser.open("/login?user_code=BBBB-BBBB")).status, 404);
  });

  test("tokens of another organization are neither seen nor ended", async () => {
    for (const [method, path] of [
      ["GET", "/v1/organizations/other/tokens"],
      ["DELETE", "/v1/organizations/other/tokens/current"],
      ["DELETE", "/v1/organizations/acme/tokens/nobody"],
    ] as const) {
      assert.equal((await harness.call(method, path)).status, 404);
    }
    assert.equal((await harness.call("PUT", "/v1/organizations/acme/tokens")).status, 405);
  });
});

test("guessing is stopped, and told when to go on", async () => {
  await using harness = await startHarness({ adminSecret });
  const response = await fetch(`${harness.baseUrl}/login/device`, { method: "POST", body: "{}" });
  const login = (await response.json()) as DeviceLoginObject;
  const browser = new Browser(harness.baseUrl);
  await browser.open(`/login?user_code=${login.user_code}`);
  const fields = { user_code: login.user_code, organization: "acme" };
  for (let i = 0; i < failedAttemptsMax; i++) {
    assert.equal((await browser.send({ ...fields, credential: `guess-${i}` })).status, 403);
  }
  const stopped = await browser.send({ ...fields, credential: adminSecret });
  assert.equal(stopped.status, 429);
  assert.ok(Number(stopped.headers.get("retry-after")) >= 1);
});
