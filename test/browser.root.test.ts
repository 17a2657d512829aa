/** A real browser at a sprite's own URL: the login, what it shows, and who stays outside. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { request } from "node:https";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { BrowserContext } from "playwright-core";

import { waitUntil } from "../src/base/wait.ts";
import { startChromium, type TestBrowser } from "./support/chromium.ts";
import { TestServer } from "./support/server.ts";

const waits = { timeoutMs: 60_000, intervalMs: 50 };
const domain = "sprites.localhost";

let server: TestServer;
let browser: TestBrowser;
let authorityPem = "";
/** Of the sprite `live` of the organization `acme`; with a port. */
let url = "";
/** The window in which `acme` has logged in. */
let member: BrowserContext;

before(async () => {
  server = await TestServer.start({
    arguments: ["--listen-tls", "127.0.0.1:0", "--idle-window", "1s", "--warm-time", "off"],
  });
  const authority = await fetch(`${server.url}/ca.pem`);
  authorityPem = await authority.text();
  browser = await startChromium(authorityPem);
  const sprite = await server.client().createSprite("live");
  const script = readFileSync(join(import.meta.dirname, "support/live-page.py"), "utf8");
  const service = { cmd: "python3", args: ["-c", script], httpPort: 8080 };
  await (await sprite.createService("web", service, "0s")).processAll(() => undefined);
  url = await urlOf(server.token, "live");
});
after(async () => {
  await browser?.[Symbol.asyncDispose]();
  await server?.close();
});

async function api(token: string, path: string, init: RequestInit = {}): Promise<Response> {
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  return await fetch(`${server.url}${path}`, { ...init, headers });
}

async function urlOf(token: string, name: string): Promise<string> {
  const { url: found } = (await (await api(token, `/v1/sprites/${name}`)).json()) as {
    url: string;
  };
  return found;
}

async function statusIs(name: string, status: string): Promise<void> {
  const is = async (): Promise<boolean> => {
    const answer = (await (await api(server.token, `/v1/sprites/${name}`)).json()) as object;
    return "status" in answer && answer.status === status;
  };
  assert.ok(await waitUntil(is, waits), `${name} becomes ${status}`);
}

/** As a program asks: it trusts the server's authority, and every name is this machine. */
async function ask(
  path: string,
  headers: Record<string, string> = {},
): Promise<{ status: number; body: string }> {
  const { hostname, port } = new URL(url);
  const target = { host: "127.0.0.1", port, servername: hostname, ca: authorityPem, path };
  return await new Promise((resolve, reject) => {
    const asked = request(
      { ...target, agent: false, headers: { host: `${hostname}:${port}`, ...headers } },
      (response) => {
        let body = "";
        response.on("data", (chunk: Buffer) => (body += chunk.toString()));
        response.on("end", () => resolve({ status: response.statusCode ?? 0, body }));
      },
    );
    asked.on("error", reject);
    asked.end();
  });
}

describe("a browser at a private URL", () => {
  test("is asked who it is, and then shows what a service serves in a sprite that was cold", async () => {
    assert.equal(
      (await api(server.token, "/v1/sprites/live/sleep", { method: "POST" })).status,
      200,
    );
    await statusIs("live", "cold");
    member = await browser.newContext();
    const page = await member.newPage();
    await page.goto(`${url}/?from=bookmark`);
    assert.equal(new URL(page.url()).hostname, `api.${domain}`);
    await statusIs("live", "cold");
    await page.fill("#credential", "a guess");
    await page.click("button");
    assert.match((await page.textContent("p.problem")) ?? "", /neither a valid token/);
    await page.fill("#credential", server.token);
    await page.click("button");
    await page.waitForSelector("text=served from inside");
    assert.equal(page.url(), `${url}/?from=bookmark`);
    const cookies = await member.cookies(url);
    const session = cookies.find(({ name }) => name === "__Host-sprite-session");
    assert.ok(session?.httpOnly === true && session.secure && session.value !== "forged");
    assert.ok(!cookies.some(({ name }) => name === "tossed"), "no cookie for siblings");
    const seen = await page.goto(`${url}/seen`);
    assert.ok(!/sprite-session|sprite-login/.test((await seen?.text()) ?? ""), "not told inside");
    await page.close();
  });

  test("a page with a WebSocket lives through a pause by connecting again, to the same process", async () => {
    const page = await member.newPage();
    await page.goto(url);
    const said = async (): Promise<string[]> =>
      ((await page.textContent("#said")) ?? "").split(" ");
    assert.ok(await waitUntil(async () => (await said()).length === 2, waits));
    const [process = "", count = ""] = await said();
    // The tab sits there idle: the sprite is suspended, its connection ends, and the page's script opens another.
    const isNext = async (): Promise<boolean> => Number((await said())[1]) > Number(count);
    assert.ok(await waitUntil(isNext, waits), "the page has connected again");
    assert.equal((await said())[0], process, "its memory was kept");
    await page.close();
  });

  test("contract 13: a second organization's token and cookie open nothing", async () => {
    const rival = await server.createToken("rivals");
    const mine = { authorization: `Bearer ${server.token}` };
    const theirs = { authorization: `Bearer ${rival}` };
    const opened = await ask("/seen", mine);
    assert.equal(opened.status, 200);
    assert.ok(!opened.body.toLowerCase().includes("authorization"), "the token stays outside");
    assert.equal((await ask("/", theirs)).status, 404);
    assert.equal((await ask("/")).status, 401);
    const made = { method: "POST", body: JSON.stringify({ name: "own" }) };
    assert.equal((await api(rival, "/v1/sprites", made)).status, 201);
    const context = await browser.newContext();
    const page = await context.newPage();
    const ownUrl = await urlOf(rival, "own");
    await page.goto(ownUrl);
    await page.fill("#credential", server.token);
    await page.click("button");
    await page.waitForSelector("p.problem");
    await page.fill("#credential", rival);
    // What it leads to is a sprite in which nothing listens, which nobody waits for here.
    await page.click("button", { noWaitAfter: true });
    const sessionOf = async () =>
      (await context.cookies(ownUrl)).find(({ name }) => name === "__Host-sprite-session");
    assert.ok(await waitUntil(async () => (await sessionOf()) !== undefined, waits));
    const { value = "" } = (await sessionOf()) ?? {};
    assert.equal((await ask("/", { cookie: `__Host-sprite-session=${value}` })).status, 401);
    const other = await context.newPage();
    await other.goto(url);
    assert.equal(new URL(other.url()).hostname, `api.${domain}`, "their login is none here");
    await other.fill("#credential", rival);
    await other.click("button");
    assert.match((await other.textContent("p.problem")) ?? "", /does not open/);
    await context.close();
  });

  test("settings count at once, and a token that is revoked ends its browser's session", async () => {
    const change = async (settings: object): Promise<void> => {
      const init = { method: "PUT", body: JSON.stringify({ url_settings: settings }) };
      assert.equal((await api(server.token, "/v1/sprites/live", init)).status, 200);
    };
    await change({ auth: "public" });
    assert.equal((await ask("/")).status, 200);
    await change({ auth: "sprite" });
    assert.equal((await ask("/")).status, 401);
    const page = await member.newPage();
    await page.goto(url);
    assert.equal(page.url(), `${url}/`);
    const token = await server.createToken("acme");
    const id = server.token.split("/")[2];
    const path = `/v1/organizations/acme/tokens/${id}`;
    assert.equal((await api(token, path, { method: "DELETE" })).status, 204);
    await page.goto(url);
    assert.equal(new URL(page.url()).hostname, `api.${domain}`);
  });
});
