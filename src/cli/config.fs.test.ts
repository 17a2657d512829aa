import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import {
  readDirectoryChoice,
  UserConfig,
  writeDirectoryChoice,
  type TokenKeyring,
} from "./config.ts";
import { defaultApiUrl, resolveApiUrl, resolveTarget, type Environment } from "./target.ts";

const noKeyring: TokenKeyring = {
  isLikely: false,
  store: () => false,
  lookup: () => undefined,
  remove: () => {},
};

describe("configuration", () => {
  let home = "";
  const url = "http://server:1";
  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), "sprite-config-"));
  });
  afterEach(() => rmSync(home, { recursive: true, force: true }));
  const store = (org: string, token: string, at = url): void => {
    const config = UserConfig.load(home);
    config.setToken({ url: at, org, token }, noKeyring);
    config.save();
  };
  const resolve = (env: Environment, orgOption?: string): ReturnType<typeof resolveTarget> =>
    resolveTarget({ env, home, directory: home, orgOption });

  test("with nothing configured, this machine is meant", () => {
    assert.equal(resolveApiUrl({}, UserConfig.load(home)), defaultApiUrl);
    assert.throws(() => resolve({}), /no token for http:\/\/127\.0\.0\.1:7777/);
    assert.deepEqual(resolve({ SPRITE_TOKEN: "acme/o/t/v" }), {
      apiUrl: defaultApiUrl,
      token: "acme/o/t/v",
      org: "acme",
      tokenSource: "SPRITE_TOKEN",
      isVariableIgnored: false,
    });
  });

  test("a stored token wins over SPRITE_TOKEN, which is the fallback", () => {
    store("acme", "stored");
    assert.equal(resolve({ SPRITE_TOKEN: "other" }).token, "stored");
    const elsewhere = { SPRITE_TOKEN: "other", SPRITES_API_URL: "http://elsewhere" };
    assert.equal(resolve(elsewhere).token, "other");
  });

  test("the organization chooses among the stored tokens", () => {
    store("acme", "token-a");
    store("beta", "token-b");
    assert.equal(resolve({}).token, "token-b", "the one stored last is selected");
    writeDirectoryChoice(home, { organization: "acme", sprite: "box" });
    assert.equal(resolve({}).token, "token-a");
    assert.equal(resolve({ SPRITE_ORG: "beta" }).token, "token-b");
    assert.equal(resolve({ SPRITE_ORG: "beta" }, "acme").token, "token-a");
    assert.throws(() => resolve({}, "gamma"), /no token of organization gamma/);
    assert.throws(() => resolve({ SPRITE_TOKEN: "acme/o/t/v" }, "gamma"), /organization gamma/);
  });

  test("keeps what it does not know, and leaves no other file behind", () => {
    const path = join(home, ".sprites", "sprites.json");
    mkdirSync(join(home, ".sprites"));
    const orgs = { acme: { name: "acme", keyring_key: "k", use_keyring: true, sprites: { a: 1 } } };
    writeFileSync(path, JSON.stringify({ theme: "dark", urls: { [url]: { url, orgs, x: 2 } } }));
    store("acme", "token");
    const saved = JSON.parse(readFileSync(path, "utf8"));
    assert.equal(saved.theme, "dark");
    assert.equal(saved.urls[url].x, 2);
    assert.deepEqual(saved.urls[url].orgs.acme, {
      name: "acme",
      keyring_key: "k",
      use_keyring: false,
      sprites: { a: 1 },
      api_token: "token",
    });
    assert.deepEqual(readdirSync(join(home, ".sprites")), ["sprites.json"]);
  });

  test("reads the older config.json", () => {
    mkdirSync(join(home, ".sprites"));
    const orgs = { acme: { name: "acme", api_token: "old" } };
    const content = { current_selection: { url, org: "acme" }, urls: { [url]: { url, orgs } } };
    writeFileSync(join(home, ".sprites", "config.json"), JSON.stringify(content));
    assert.equal(resolve({}).token, "old");
  });

  test("names that are special in JavaScript are plain names", () => {
    store("__proto__", "token");
    assert.equal(UserConfig.load(home).token(url, "__proto__", noKeyring), "token");
    assert.equal(({} as Record<string, unknown>)["api_token"], undefined);
  });

  test("odd contents are told or ignored, never a crash", () => {
    mkdirSync(join(home, ".sprites"));
    const path = join(home, ".sprites", "sprites.json");
    for (const text of ["", "[]", "null", "{", "1"]) {
      writeFileSync(path, text);
      assert.throws(() => UserConfig.load(home), /not a JSON object/);
    }
    writeFileSync(path, '{"urls":[],"current_selection":3}');
    assert.deepEqual(UserConfig.load(home).selection, { url: undefined, org: undefined });
    writeFileSync(join(home, ".sprite"), '{"organization":5,"sprite":""}');
    assert.deepEqual(readDirectoryChoice(home), { organization: undefined, sprite: undefined });
  });
});
