import assert from "node:assert/strict";
import test from "node:test";

import { nameHost, parseAuthority } from "./host-name.ts";

test("a host names a sprite by its name and its organization's id", () => {
  const of = (host: string) => nameHost(host, "sprites.localhost");
  const web = { kind: "sprite", name: "web", organizationShortId: "b7k2" };
  assert.deepEqual(of("web-b7k2.sprites.localhost"), web);
  const dashed = { kind: "sprite", name: "a-b--c", organizationShortId: "b7k2" };
  assert.deepEqual(of("a-b--c-b7k2.sprites.localhost"), dashed);
  for (const host of ["sprites.localhost", "api.sprites.localhost"]) {
    assert.deepEqual(of(host), { kind: "api" });
  }
  for (const label of ["web", "-b7k2", "web-", "a.b-c", "a_b-c"]) {
    assert.deepEqual(of(`${label}.sprites.localhost`), { kind: "unknown" }, label);
  }
  for (const host of ["localhost", "evilsprites.localhost", "web-b7k2.sprites.localhost.evil"]) {
    assert.deepEqual(of(host), { kind: "foreign" }, host);
  }
});

test("an authority is a host and perhaps a port, and nothing else", () => {
  const host = "web-b7k2.sprites.localhost";
  assert.deepEqual(parseAuthority("Web-B7K2.sprites.localhost"), { host, port: null });
  assert.deepEqual(parseAuthority(`${host}.:7443`), { host, port: 7443 });
  const bad = [
    "",
    ".",
    "a..b",
    "a b",
    "a@b",
    "a/b",
    "a:",
    "a:0",
    "a:65536",
    "a:1:2",
    "[::1]",
    "a,b",
  ];
  for (const text of [...bad, "a\u0000", "ä.b", "-a.b", "a\r\nb", "a".repeat(300), "a:+1"]) {
    assert.equal(parseAuthority(text), null, JSON.stringify(text));
  }
});
