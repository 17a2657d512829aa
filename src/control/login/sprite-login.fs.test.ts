/** The command line against the real login: bin/sprite in a process of its own. */
import assert from "node:assert/strict";
import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { Browser } from "../testing/browser.ts";
import { startHarness, type Harness } from "../testing/harness.ts";
import { eventually } from "../testing/raw-http.ts";

const spritePath = fileURLToPath(new URL("../../../bin/sprite", import.meta.url));
const compileCachePath = fileURLToPath(
  new URL("../../../node_modules/.cache/sprite-test", import.meta.url),
);
const adminSecret = "an-admin-secret-for-tests";

/** What secret-tool does, with files instead of a keyring. */
const fakeSecretTool = `#!/bin/sh
verb=$1; for word; do key=$word; done
file="$KEYRING_DIR/$(printf %s "$key" | tr -c A-Za-z0-9 _)"
case $verb in
store) cat > "$file" ;;
lookup) cat "$file" 2> /dev/null ;;
clear) rm -f "$file" ;;
esac
`;

describe("sprite login", () => {
  let harness: Harness;
  let home = "";
  let tools = "";
  before(async () => {
    harness = await startHarness({ adminSecret });
    home = join(harness.directory, "home");
    tools = join(harness.directory, "tools");
    mkdirSync(tools);
    mkdirSync(join(tools, "kept"));
    writeFileSync(join(tools, "secret-tool"), fakeSecretTool);
    chmodSync(join(tools, "secret-tool"), 0o755);
  });
  after(async () => {
    await harness[Symbol.asyncDispose]();
  });
  beforeEach(() => rmSync(home, { recursive: true, force: true }));

  const start = (
    args: string[],
    env: Record<string, string> = {},
  ): ChildProcessWithoutNullStreams =>
    spawn(spritePath, args, {
      cwd: harness.directory,
      env: {
        PATH: `${tools}:${process.env["PATH"]}`,
        HOME: home,
        XDG_CACHE_HOME: compileCachePath,
        SPRITES_API_URL: harness.baseUrl,
        KEYRING_DIR: join(tools, "kept"),
        ...env,
      },
    });
  const collect = async (child: ChildProcessWithoutNullStreams) => {
    const result = { code: -1, stdout: "", stderr: "" };
    child.stdout.on("data", (part: Buffer) => (result.stdout += String(part)));
    child.stderr.on("data", (part: Buffer) => (result.stderr += String(part)));
    const closed = once(child, "close");
    return { result, closed: closed.then(([code]) => (result.code = code as number)) };
  };
  const run = async (
    args: string[],
    options: { env?: Record<string, string>; input?: string } = {},
  ) => {
    const child = start(args, options.env);
    child.stdin.end(options.input ?? "");
    const { result, closed } = await collect(child);
    await closed;
    return result;
  };
  const configText = (): string => readFileSync(join(home, ".sprites", "sprites.json"), "utf8");

  /** Starts a login and gives the code that it shows. */
  const begin = async (args: string[], env: Record<string, string> = {}) => {
    const child = start(args, env);
    const { result, closed } = await collect(child);
    await eventually(() => /user_code=([A-Z-]+)/.test(result.stderr), "the address");
    const code = /user_code=([A-Z-]+)/.exec(result.stderr)?.[1] ?? "";
    const browser = new Browser(harness.baseUrl);
    assert.equal((await browser.open(`/login?user_code=${code}`)).status, 200);
    return { code, browser, result, closed };
  };

  test("an approved login stores a token of its own, which works", async () => {
    const { code, browser, result, closed } = await begin(["login"]);
    assert.match(result.stderr, new RegExp(`shows the code ${code}:`));
    const sent = await browser.send({ user_code: code, credential: harness.token });
    assert.equal(sent.status, 200);
    await closed;
    assert.equal(result.code, 0, result.stderr);
    assert.match(result.stdout, /^Logged in to acme at /);
    assert.ok(!result.stdout.includes("acme/"), "the token is not shown");
    const listed = await run(["org", "tokens", "list"]);
    assert.match(listed.stdout, /^\* .* sprite of .* on /m);
    assert.match((await run(["org", "list"])).stdout, /^\* +acme +http:.* +file$/m);
    const out = await run(["org", "logout", "--force", "--revoke", "--json"]);
    assert.partialDeepStrictEqual(JSON.parse(out.stdout), { name: "acme", forgotten: true });
    assert.equal((await run(["list"])).code, 1);
  });

  test("with --json the address comes as JSON, and a refusal is an error", async () => {
    const { code, browser, result, closed } = await begin(["login", "--json"]);
    assert.partialDeepStrictEqual(JSON.parse(result.stderr), { user_code: code, expires_in: 600 });
    await browser.send({ user_code: code, action: "deny" });
    await closed;
    assert.equal(result.code, 1);
    const [, error = ""] = result.stderr.trim().split("\n");
    assert.partialDeepStrictEqual(JSON.parse(error), { error: "access_denied" });
  });

  test("login --token needs no browser, and a refused token is not stored", async () => {
    const stored = await run(["login", harness.baseUrl, "--token", "-"], { input: harness.token });
    assert.equal(stored.code, 0, stored.stderr);
    assert.equal((await run(["list"])).code, 0);
    const elsewhere = { SPRITES_API_URL: "http://127.0.0.1:9" };
    const overruled = await run(["login", harness.baseUrl, "--token", harness.token], {
      env: elsewhere,
    });
    assert.match(overruled.stderr, /unset SPRITES_API_URL/);
    const before_ = configText();
    assert.equal((await run(["login", "--token", `${harness.token}x`])).code, 1);
    assert.equal(configText(), before_);
  });

  test("org create makes an organization with the admin secret; org use goes back", async () => {
    await run(["login", "--token", harness.token]);
    const name = "second-org";
    const made = await run(["org", "create", name, "--admin-secret", "-"], { input: adminSecret });
    assert.equal(made.code, 0, made.stderr);
    const status = async (): Promise<unknown> =>
      JSON.parse((await run(["auth", "status", "--json"])).stdout);
    assert.partialDeepStrictEqual(await status(), { org: name });
    assert.equal((await run(["org", "use", "acme"])).code, 0);
    assert.partialDeepStrictEqual(await status(), { org: "acme" });
    const env = { SPRITES_ADMIN_SECRET: adminSecret };
    const token = await run(["org", "tokens", "create", "-o", name], { env });
    assert.match(token.stdout, /^second-org\/\S+\n$/);
    const wrong = await run(["org", "create", "x", "--admin-secret", "wrong-secret", "--json"]);
    assert.partialDeepStrictEqual(JSON.parse(wrong.stderr), { error: "forbidden" });
    assert.equal((await run(["org", "use", "nobody"])).code, 1);
  });

  test("tokens move into the keyring and out of it", async () => {
    await run(["login", "--token", harness.token]);
    assert.ok(configText().includes(harness.token));
    assert.equal((await run(["org", "keyring", "enable"])).code, 0);
    assert.ok(!configText().includes(harness.token));
    assert.equal((await run(["list"])).code, 0, "the token comes from the keyring");
    assert.match((await run(["org", "list"])).stdout, /keyring/);
    assert.equal((await run(["org", "keyring", "disable"])).code, 0);
    assert.ok(configText().includes(harness.token));
    assert.equal((await run(["list"], { env: { KEYRING_DIR: "/nowhere" } })).code, 0);
    const broken = await run(["org", "keyring", "enable"], { env: { KEYRING_DIR: "/nowhere" } });
    assert.equal(broken.code, 1);
    assert.ok(configText().includes(harness.token), "nothing is lost");
    // With a session bus the keyring is used unasked.
    await run(["logout"]);
    rmSync(home, { recursive: true });
    const bus = { DBUS_SESSION_BUS_ADDRESS: "unix:path=/nowhere" };
    await run(["login", "--token", harness.token], { env: bus });
    assert.ok(!configText().includes(harness.token));
    assert.equal((await run(["logout"])).code, 0);
    assert.equal((await run(["list"])).code, 1);
  });

  test("a sprite's settings are shown and changed", async () => {
    await run(["login", "--token", harness.token]);
    assert.equal((await run(["create", "box", "--label", "a"])).code, 0);
    const change = ["config", "update", "-s", "box", "--url-auth", "public", "--label", "b"];
    assert.equal((await run(change)).code, 0);
    const shown = JSON.parse((await run(["config", "-s", "box", "--json"])).stdout) as object;
    assert.partialDeepStrictEqual(shown, { url_settings: { auth: "public" }, labels: ["b"] });
    assert.match((await run(["url", "-s", "box"])).stderr, /Open to everybody/);
    assert.equal((await run(["config", "update", "-s", "box"])).code, 1);
    assert.equal((await run(["config", "update", "-s", "box", "--clear-labels"])).code, 0);
    const cleared = JSON.parse((await run(["config", "-s", "box", "--json"])).stdout) as object;
    assert.partialDeepStrictEqual(cleared, { url_settings: { auth: "public" }, labels: [] });
  });
});
