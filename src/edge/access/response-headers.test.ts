import assert from "node:assert/strict";
import { test } from "node:test";

import { responseHeaders } from "../header-rules.ts";
import { ourCookies } from "./cookies.ts";

test("what is inside sets no cookie of ours, none for its siblings, and clears none of theirs", () => {
  const host = "box-b7k2.sprites.localhost";
  const passes = (name: string, value: string): boolean =>
    responseHeaders([name, value], { status: 200, host, cookies: ourCookies }).length > 0;
  for (const cookie of [
    "a=1; Path=/",
    `a=1; Domain=${host}`,
    `a=1; domain=.${host}`,
    "a=1; Domain=",
  ]) {
    assert.ok(passes("set-cookie", cookie), cookie);
  }
  for (const cookie of [
    "__Host-sprite-session=x; Secure; Path=/",
    " __HOST-SPRITE-SESSION=x",
    "=__Host-sprite-session=x",
    "__Host-sprite-login=; Path=/",
    "a=1; Domain=sprites.localhost",
    "a=1; path=/; DOMAIN = .sprites.localhost",
    "a=1; Domain=localhost",
    "a=1; Domain=evil-b7k2.sprites.localhost",
  ]) {
    assert.ok(!passes("Set-Cookie", cookie), cookie);
  }
  assert.ok(!passes("Clear-Site-Data", '"cookies"'));
});
