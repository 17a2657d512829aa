import assert from "node:assert/strict";
import { test } from "node:test";

import { SpriteError } from "../contract/errors.ts";
import { isAgentUpgrade, parseRoute, splitTarget } from "./request-target.ts";

const code = (rawPath: string): string => {
  try {
    return parseRoute(rawPath).kind;
  } catch (error) {
    assert.ok(error instanceof SpriteError);
    return error.code;
  }
};

test("routes", () => {
  assert.deepEqual(parseRoute("/v1/sprites"), { kind: "sprites" });
  assert.deepEqual(parseRoute("/v1/sprites/a"), { kind: "sprite", name: "a" });
  assert.deepEqual(parseRoute("/v1/sprites/a%2Db/check"), { kind: "check", name: "a-b" });
  const exec = { kind: "agent", name: "a", rest: ["exec", "1/2"] };
  assert.deepEqual(parseRoute("/v1/sprites/a/exec/1%2F2"), exec);
  assert.deepEqual(parseRoute("/v1/sprites/a/check/x").kind, "agent");
  const tokens = { kind: "tokens", organizationSlug: "acme" };
  assert.deepEqual(parseRoute("/v1/organizations/acme/tokens"), tokens);
});

test("paths that lead nowhere", () => {
  const missing = [
    "/",
    "//v1/sprites",
    "/v1",
    "/v1/",
    "/v1/sprites/",
    "/v1/sprites/a/",
    "/v2/sprites",
  ];
  missing.push("/v1/spritesx", "/v1/organizations", "/v1/organizations/a", "/v1/organizations/a/b");
  missing.push("/v1/sprites//exec", "v1/sprites", "/v1%2Fsprites", "*");
  for (const path of missing) assert.equal(code(path), "not_found", path);
  const invalid = ["/v1/sprites/..", "/v1/sprites/%2e%2E/exec", "/v1/sprites/a/../b/exec"];
  invalid.push(
    "/v1/sprites/a/%00",
    "/v1/sprites/%",
    "/v1/sprites/%zz",
    "/v1/sprites/%ff",
    "/v1/./sprites",
  );
  for (const path of invalid) assert.equal(code(path), "invalid_request", path);
});

test("targets", () => {
  const target = splitTarget("/v1/sprites?prefix=a%20b&x");
  assert.equal(target.rawPath, "/v1/sprites");
  assert.equal(target.query.get("prefix"), "a b");
  assert.equal(splitTarget("http://host:80/v1/sprites?x=1").raw, "/v1/sprites?x=1");
  assert.equal(splitTarget("HTTP://host").raw, "/");
  assert.equal(splitTarget("").rawPath, "/");
  assert.equal(splitTarget("/a?b?c").query.get("b?c"), "");
});

test("only a WebSocket for an agent is an upgrade", () => {
  assert.ok(isAgentUpgrade("GET", "WebSocket", "/v1/sprites/a/exec?cmd=x"));
  assert.ok(!isAgentUpgrade("GET", "h2c", "/v1/sprites/a/exec"));
  assert.ok(!isAgentUpgrade("POST", "websocket", "/v1/sprites/a/exec"));
  assert.ok(!isAgentUpgrade("GET", undefined, "/v1/sprites/a/exec"));
  assert.ok(!isAgentUpgrade("GET", "websocket", "/v1/sprites/a"));
});
