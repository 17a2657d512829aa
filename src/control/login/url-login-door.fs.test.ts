import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { createToken } from "../tokens.ts";
import { startHarness, type Harness } from "../testing/harness.ts";
import { localPath } from "./url-login-door.ts";

const adminSecret = "an-admin-secret-for-tests";
const nonce = "nonce-of-the-browser";

/** A browser on the login page's host, as far as cookies and the form go. */
class Visitor {
  readonly #harness: Harness;
  readonly #cookies = new Map<string, string>();
  page = "";

  constructor(harness: Harness) {
    this.#harness = harness;
  }

  async open(fields: Record<string, string>): Promise<Response> {
    return await this.#send(`/login/url?${new URLSearchParams(fields).toString()}`, {});
  }

  async post(
    fields: Record<string, string>,
    headers: Record<string, string> = {},
  ): Promise<Response> {
    const csrf = /name="csrf" value="([^"]+)"/.exec(this.page)?.[1] ?? "";
    const body = new URLSearchParams({ csrf, ...fields });
    return await this.#send("/login/url", { method: "POST", body, headers });
  }

  async #send(path: string, init: RequestInit): Promise<Response> {
    const headers = new Headers(init.headers);
    // As a TLS proxy in front does.
    headers.set("x-forwarded-proto", "https");
    headers.set("cookie", [...this.#cookies].map(([key, value]) => `${key}=${value}`).join("; "));
    const response = await fetch(this.#harness.baseUrl + path, {
      ...init,
      headers,
      redirect: "manual",
    });
    this.page = await response.text();
    for (const cookie of response.headers.getSetCookie()) {
      const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(cookie) ?? [];
      this.#cookies.set(name, value);
    }
    return response;
  }
}

describe("logging in to a sprite's URL", () => {
  let harness: Harness;
  /** `box-xxxx.sprites.localhost`, and the fields that its host sends along. */
  let hostName = "";
  let fields: Record<string, string> = {};
  before(async () => {
    harness = await startHarness({ adminSecret });
    for (const name of ["box", "second"]) await harness.call("POST", "/v1/sprites", { name });
    hostName = await hostNameOf("box");
    fields = { host: hostName, nonce, path: "/a?b=c" };
  });
  after(async () => {
    await harness[Symbol.asyncDispose]();
  });
  const hostNameOf = async (name: string): Promise<string> => {
    const { body } = await harness.call("GET", `/v1/sprites/${name}`);
    return new URL(body["url"] as string).hostname;
  };
  const codeOf = (response: Response): string => {
    assert.equal(response.status, 303);
    const location = new URL(response.headers.get("location") ?? "");
    // The port is that of the request, whatever the visitor's address said.
    assert.equal(location.port, String(harness.port));
    assert.equal(location.pathname, "/.sprite-login");
    return location.searchParams.get("code") ?? "";
  };
  const logIn = async (visitor: Visitor, credential: string): Promise<Response> => {
    await visitor.open(fields);
    return await visitor.post({ ...fields, credential });
  };

  test("ends in a code for that host and that browser, good once", async () => {
    const { urlAccess } = harness.control;
    const visitor = new Visitor(harness);
    const response = await logIn(visitor, harness.token);
    const code = codeOf(response);
    assert.match(
      response.headers.getSetCookie().join(),
      /^__Host-sprites-login=.*; Secure; HttpOnly/,
    );
    assert.equal(response.headers.get("referrer-policy"), "no-referrer");
    const redeemed = urlAccess.redeem(code, { hostName, nonce });
    assert.equal(redeemed?.path, "/a?b=c");
    assert.equal(urlAccess.redeem(code, { hostName, nonce }), null, "a replay");
    const session = redeemed?.session ?? "";
    assert.deepEqual(urlAccess.visitorBySession(session, hostName), {
      organizationSlug: "acme",
      isAdmin: true,
    });
    const second = await hostNameOf("second");
    assert.equal(urlAccess.visitorBySession(session, second), null, "of one host only");
    // The same browser is not asked again for another sprite of the organization.
    const other = codeOf(await visitor.open({ ...fields, host: second }));
    assert.equal(urlAccess.redeem(other, { hostName, nonce }), null, "not the host it is for");
    assert.equal(urlAccess.redeem(other, { hostName: second, nonce }), null, "and used up by that");
    const third = codeOf(await visitor.open(fields));
    assert.equal(urlAccess.redeem(third, { hostName, nonce: "another browser's" }), null);
    const fourth = codeOf(await visitor.open(fields));
    const sibling = urlAccess.redeem(fourth, { hostName, nonce })?.session ?? "";
    // Logging out at one host ends the login and all that came of it.
    urlAccess.endSession(session, hostName);
    assert.equal(urlAccess.visitorBySession(session, hostName), null);
    assert.equal(urlAccess.visitorBySession(sibling, hostName), null);
    assert.equal((await visitor.open(fields)).status, 200, "the form again");
  });

  test("ends with the token that was shown, and outlives a restart", async () => {
    const { urlAccess } = harness.control;
    const { dataDirectory } = harness;
    const about = { dataDirectory, orgSlug: "acme", description: "" };
    const token = createToken({ ...about, role: "member" });
    const code = codeOf(await logIn(new Visitor(harness), token));
    const session = urlAccess.redeem(code, { hostName, nonce })?.session ?? "";
    assert.equal(urlAccess.visitorBySession(session, hostName)?.isAdmin, false);
    await using other = await startHarness({ dataDirectory, adminSecret });
    assert.ok(other.control.urlAccess.visitorBySession(session, hostName) !== null);
    const tokenId = token.split("/")[2] ?? "";
    const path = `/v1/organizations/acme/tokens/${tokenId}`;
    assert.equal((await harness.call("DELETE", path)).status, 204);
    assert.equal(urlAccess.visitorBySession(session, hostName), null);
    assert.equal(urlAccess.visitorBySession(`${session.slice(0, -1)}!`, hostName), null);
  });

  test("takes the admin secret, until it is another one", async () => {
    const code = codeOf(await logIn(new Visitor(harness), adminSecret));
    const session = harness.control.urlAccess.redeem(code, { hostName, nonce })?.session ?? "";
    assert.equal(harness.control.urlAccess.visitorBySession(session, hostName)?.isAdmin, true);
    const { dataDirectory } = harness;
    await using other = await startHarness({ dataDirectory, adminSecret: "another-admin-secret" });
    assert.equal(other.control.urlAccess.visitorBySession(session, hostName), null);
  });

  test("refuses wrong secrets, other organizations, and members where admins are meant", async () => {
    const { dataDirectory } = harness;
    const stranger = createToken({ dataDirectory, orgSlug: "rivals", description: "" });
    const member = createToken({
      ...{ dataDirectory, orgSlug: "acme", description: "" },
      role: "member",
    });
    for (const credential of ["", "guess", stranger]) {
      const visitor = new Visitor(harness);
      const response = await logIn(visitor, credential);
      assert.equal(response.status, 403, credential);
      assert.deepEqual(
        response.headers.getSetCookie().filter((text) => text.includes("sprites-login=")),
        [],
      );
      assert.ok(!visitor.page.includes("rivals"), "no organization is named");
    }
    const change = { url_settings: { private_access: "admins" } };
    await harness.call("PUT", "/v1/sprites/second", change);
    const second = { ...fields, host: await hostNameOf("second") };
    const visitor = new Visitor(harness);
    codeOf(await logIn(visitor, member));
    assert.equal((await visitor.open(second)).status, 200, "asked for somebody else's token");
    assert.equal((await visitor.post({ ...second, credential: member })).status, 403);
    codeOf(await visitor.post({ ...second, credential: harness.token }));
  });

  test("takes no form from elsewhere, sends nobody elsewhere, and is for TLS only", async () => {
    const visitor = new Visitor(harness);
    await visitor.open(fields);
    const form = { ...fields, credential: harness.token };
    const attempts = [
      visitor.post({ ...form, csrf: "guessed" }),
      visitor.post(form, { origin: `https://evil-b7k2.sprites.localhost` }),
      visitor.post(form, { "sec-fetch-site": "same-site" }),
    ];
    for (const { status } of await Promise.all(attempts)) assert.equal(status, 403);
    for (const host of [
      "evil.example",
      `${hostName}.evil.example`,
      `evil.example/.${hostName}`,
      `${hostName}:9999`,
      `nobody-zzzz.sprites.localhost`,
    ]) {
      assert.equal((await visitor.open({ ...fields, host })).status, 404, host);
    }
    const plain = await fetch(
      `${harness.baseUrl}/login/url?${new URLSearchParams(fields).toString()}`,
    );
    assert.equal(plain.status, 404);
    const policy = (await visitor.open(fields)).headers.get("content-security-policy") ?? "";
    assert.ok(policy.includes(`form-action 'self' https://${hostName}:${harness.port};`));
  });

  test("tokens are known by their form, also revoked ones and under another scheme", () => {
    const { urlAccess } = harness.control;
    assert.ok(urlAccess.isToken(`Bearer ${harness.token}`));
    assert.ok(urlAccess.isToken(`Token ${harness.token.slice(0, -5)}`));
    for (const text of ["Bearer app-token", "Bearer a/b/c/d", "Basic eDp5", "acme/x/y/z"]) {
      assert.ok(!urlAccess.isToken(text), text);
    }
    assert.equal(urlAccess.visitorByToken(`Bearer ${harness.token}`)?.organizationSlug, "acme");
    assert.equal(urlAccess.visitorByToken("Bearer a/b/c/d"), null);
    assert.ok(urlAccess.isKnownHost(hostName));
    for (const name of [`x${hostName}`, `${hostName}.`, "box-zzzz.sprites.localhost", "box", ""]) {
      assert.ok(!urlAccess.isKnownHost(name), name);
    }
  });
});

test("a visitor is sent to a path of the host and nowhere else", () => {
  assert.equal(localPath("/a/b?c=d#e"), "/a/b?c=d#e");
  for (const text of ["", "a", "//evil.example", "/\\evil.example", "https://x", "/a\\b", "/a b"]) {
    assert.equal(localPath(text), "/", text);
  }
  assert.equal(localPath("/a\r\nset-cookie: x=y"), "/");
  assert.equal(localPath(`/${"x".repeat(3_000)}`), "/");
});
