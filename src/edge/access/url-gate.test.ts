import assert from "node:assert/strict";
import type { IncomingHttpHeaders } from "node:http";
import { describe, test } from "node:test";

import type { GateAnswer, GateRequest } from "../gatekeeper.ts";
import { readCookie } from "./cookies.ts";
import type { UrlAccess } from "./url-access.ts";
import { UrlGate } from "./url-gate.ts";

const domain = "sprites.localhost";
const hostName = `box-b7k2.${domain}`;
const host = `${hostName}:8443`;
const admin = { organizationSlug: "acme", isAdmin: true };
const member = { organizationSlug: "acme", isAdmin: false };
const stranger = { organizationSlug: "other", isAdmin: true };

/** Tokens and sessions by what they are called. */
const access: UrlAccess = {
  visitorByToken(authorization) {
    const known = { admin, member, stranger } as const;
    return known[authorization.replace("Bearer token-", "") as keyof typeof known] ?? null;
  },
  isToken: (authorization) => authorization.includes("token-"),
  visitorBySession(session, name) {
    if (name !== hostName) return null;
    return session === "admin" ? admin : session === "member" ? member : null;
  },
  redeem(code, { nonce, hostName: name }) {
    if (code !== "good" || nonce !== "mine" || name !== hostName) return null;
    return { session: "member", lifetimeMs: 60_000, path: "/wanted?x=1" };
  },
  endSession: (session) => void ended.push(session),
};
let ended: string[] = [];
const gate = new UrlGate({ access, domain });
const sprite: NonNullable<GateRequest["sprite"]> = {
  ...{ id: "id", name: "box", organizationSlug: "acme" },
  urlSettings: { auth: "sprite", private_access: "org_users" },
};

interface Asked {
  headers?: IncomingHttpHeaders;
  method?: string;
  path?: string;
  isUpgrade?: boolean;
  sprite?: GateRequest["sprite"];
}

function ask(asked: Asked) {
  const { headers = {}, method = "GET", path = "/", isUpgrade = false } = asked;
  const about = asked.sprite === undefined ? sprite : asked.sprite;
  return gate.admit({
    ...{ method, host, path, headers, isUpgrade, sprite: about, clientAddress: "127.0.0.1" },
  });
}

function refused(asked: Asked): GateAnswer {
  const decision = ask(asked);
  assert.ok(!decision.admitted, JSON.stringify(asked));
  return decision.answer;
}

function cookiesOf(answer: GateAnswer): string[] {
  return [answer.headers["set-cookie"] ?? []].flat();
}

const asPage = { accept: "text/html,*/*;q=0.8" };

describe("a private URL", () => {
  test("contract 13: opens for a token of the organization, which goes no further", () => {
    for (const authorization of ["Bearer token-admin", "Bearer token-member"]) {
      const decision = ask({ headers: { authorization } });
      assert.ok(decision.admitted);
      assert.equal(decision.strip.authorization, true);
      assert.ok(decision.strip.cookies.includes("__Host-sprite-session"));
    }
  });

  test("tells programs without one 401, and sends people to the login page", () => {
    const { status, headers, body } = refused({});
    assert.equal(status, 401);
    assert.equal(headers["www-authenticate"], "Bearer");
    assert.equal((JSON.parse(body) as { error: string }).error, "unauthorized");
    assert.equal(refused({ headers: { authorization: "Bearer token-revoked" } }).status, 401);
    assert.equal(refused({ headers: asPage, method: "POST" }).status, 401);
    assert.equal(refused({ headers: asPage, isUpgrade: true }).status, 401);
    const fetched = { ...asPage, "sec-fetch-mode": "cors" };
    assert.equal(refused({ headers: fetched }).status, 401);
    const sent = refused({ headers: asPage, path: "/a?b=c" });
    assert.equal(sent.status, 303);
    const location = new URL(String(sent.headers["location"]));
    assert.equal(location.origin, `https://api.${domain}:8443`);
    assert.equal(location.searchParams.get("host"), hostName);
    assert.equal(location.searchParams.get("path"), "/a?b=c");
    const [cookie = ""] = cookiesOf(sent);
    assert.match(cookie, /^__Host-sprite-login=.*; Path=\/; .*Secure; HttpOnly; SameSite=Lax$/);
    assert.equal(readCookie(cookie, "__Host-sprite-login"), location.searchParams.get("nonce"));
    assert.equal(sent.headers["referrer-policy"], "no-referrer");
  });

  test("does not tell another organization that there is a sprite", () => {
    const headers = { authorization: "Bearer token-stranger" };
    assert.deepEqual(refused({ headers }), refused({ headers, sprite: null }));
    assert.equal(refused({ headers }).status, 404);
    const page = { ...headers, ...asPage };
    assert.deepEqual(refused({ headers: page }), refused({ headers: page, sprite: null }));
  });

  test("for admins is closed to the rest of the organization, at once", () => {
    const urlSettings = { auth: "sprite", private_access: "admins" } as const;
    const guarded = { ...sprite, urlSettings };
    assert.ok(ask({ sprite: guarded, headers: { authorization: "Bearer token-admin" } }).admitted);
    assert.ok(
      ask({ sprite: guarded, headers: { cookie: "__Host-sprite-session=admin" } }).admitted,
    );
    for (const headers of [
      { authorization: "Bearer token-member" },
      { cookie: "__Host-sprite-session=member" },
    ]) {
      assert.equal(refused({ sprite: guarded, headers }).status, 403);
      assert.ok(ask({ headers }).admitted);
    }
  });
});

test("a public URL opens for everybody, and a token that comes along goes no further", () => {
  const open = { ...sprite, urlSettings: { auth: "public" } as const };
  const authorizations = [undefined, "Bearer token-revoked", "Bearer token-stranger", "Basic eDp5"];
  const stripped = authorizations.map((authorization) => {
    const headers = authorization === undefined ? {} : { authorization };
    const decision = ask({ sprite: open, headers });
    assert.ok(decision.admitted);
    return decision.strip.authorization;
  });
  assert.deepEqual(stripped, [false, true, true, false]);
});

describe("a browser session", () => {
  const cookie = "theme=dark; __Host-sprite-session=member";

  test("opens the URL, and what is inside keeps its own Authorization", () => {
    const decision = ask({ headers: { cookie, authorization: "Bearer for-the-app" } });
    assert.ok(decision.admitted);
    assert.equal(decision.strip.authorization, false);
    assert.equal(refused({ headers: { cookie: "__Host-sprite-session=forged" } }).status, 401);
    assert.equal(refused({ headers: { cookie: "__host-sprite-session=member" } }).status, 401);
  });

  test("is not for pages of other sites and of sibling sprites", () => {
    const sibling = `https://evil-b7k2.${domain}:8443`;
    const own = `https://${host}`;
    const link = { "sec-fetch-mode": "navigate", "sec-fetch-dest": "document" };
    const allowed: Asked[] = [
      { headers: { cookie, "sec-fetch-site": "none", ...link } },
      { headers: { cookie, "sec-fetch-site": "same-origin" }, method: "POST" },
      { headers: { cookie, "sec-fetch-site": "same-site", ...link } },
      { headers: { cookie, "sec-fetch-site": "cross-site", ...link } },
      { headers: { cookie, origin: own }, method: "POST" },
      { headers: { cookie, origin: own }, isUpgrade: true },
    ];
    for (const asked of allowed) assert.ok(ask(asked).admitted, JSON.stringify(asked));
    const frame = { ...link, "sec-fetch-dest": "iframe" };
    const barred: Asked[] = [
      { headers: { cookie, "sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors" } },
      { headers: { cookie, "sec-fetch-site": "same-site", ...frame } },
      { headers: { cookie, "sec-fetch-site": "same-site", ...link }, method: "POST" },
      { headers: { cookie, origin: sibling }, method: "POST" },
      { headers: { cookie, origin: "null" } },
      { headers: { cookie, origin: sibling, "sec-fetch-site": "none" } },
      { headers: { cookie, origin: sibling }, isUpgrade: true },
      { headers: { cookie, origin: `http://${host}` }, isUpgrade: true },
      { headers: { cookie }, isUpgrade: true },
    ];
    for (const asked of barred) assert.equal(refused(asked).status, 403, JSON.stringify(asked));
  });

  test("begins with a code that is taken in the browser that asked, and leads where it was going", () => {
    const path = "/.sprite-login?code=good";
    const done = refused({ path, headers: { cookie: "__Host-sprite-login=mine" } });
    assert.equal(done.status, 303);
    assert.equal(done.headers["location"], "/wanted?x=1");
    const cookies = cookiesOf(done);
    assert.match(
      cookies[0] ?? "",
      /^__Host-sprite-session=member; Path=\/; Max-Age=60; Secure; Http/,
    );
    assert.match(cookies[1] ?? "", /^__Host-sprite-login=; Path=\/; Max-Age=0;/);
    for (const headers of [{}, { cookie: "__Host-sprite-login=theirs" }]) {
      const lost = refused({ path, headers });
      assert.equal(lost.status, 403);
      assert.deepEqual(cookiesOf(lost), []);
    }
  });

  test("ends by a button of the host's own, not by another site's", () => {
    ended = [];
    const path = "/.sprite-logout";
    assert.match(refused({ path, headers: { cookie } }).body, /<form method="post"/);
    const post = { path, method: "POST" };
    const theirs = { cookie, origin: `https://evil-b7k2.${domain}:8443` };
    assert.equal(refused({ ...post, headers: theirs }).status, 403);
    assert.deepEqual(ended, []);
    const answer = refused({ ...post, headers: { cookie, origin: `https://${host}` } });
    assert.equal(answer.status, 200);
    assert.deepEqual(ended, ["member"]);
    assert.equal(cookiesOf(answer).filter((text) => text.includes("Max-Age=0")).length, 2);
    assert.equal(refused({ path, method: "PUT" }).status, 405);
  });
});
