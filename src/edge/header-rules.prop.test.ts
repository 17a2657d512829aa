/** Whatever a client or a sprite sends, nothing that only the edge may say goes through as theirs. */
import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";

import { requestHeaders, responseHeaders } from "./header-rules.ts";

const dangerous = [
  ...[
    "Connection",
    "Keep-Alive",
    "Transfer-Encoding",
    "Upgrade",
    "TE",
    "Trailer",
    "Content-Length",
  ],
  ...["Host", "Forwarded", "X-Forwarded-For", "X_Forwarded_For", "x-forwarded-Proto", "X-Real-IP"],
  ...[
    "X-Forwarded-Anything",
    "Proxy",
    "Proxy-Connection",
    "Authorization",
    "Cookie",
    "Content_Length",
  ],
  ...["X-Original-URL", "Transfer_Encoding", "HTTP2-Settings", "Http-Host", "Accept", "X-Own"],
];
const name = fc.constantFrom(...dangerous).chain((text) => fc.mixedCase(fc.constant(text)));
const value = fc.oneof(
  fc.constantFrom("chunked", "close, x-own, host, content-length", "1.2.3.4", "0", "forged"),
  fc.constantFrom("a=1; __Host-sprite=secret; b=2", "__Host-sprite=secret", "Bearer secret"),
);
const headers = fc.array(fc.tuple(name, value), { maxLength: 20 }).map((pairs) => pairs.flat());

test("a sprite gets each header that the edge says once, and no token or cookie of ours", () => {
  const said = {
    host: "web-b7k2.sprites.localhost:7443",
    "x-forwarded-for": "9.9.9.9",
    "x-real-ip": "9.9.9.9",
    "x-forwarded-proto": "https",
    "x-forwarded-host": "web-b7k2.sprites.localhost:7443",
    "x-forwarded-port": "7443",
  };
  const options = {
    ...{ authority: said.host, clientAddress: "9.9.9.9" },
    strip: { authorization: true, cookies: ["__Host-sprite"] },
  };
  fc.assert(
    fc.property(headers, (given) => {
      const got = requestHeaders(given, options);
      const byName = new Map<string, string[]>();
      for (let index = 0; index < got.length; index += 2) {
        const key = (got[index] ?? "").toLowerCase().replaceAll("_", "-");
        byName.set(key, [...(byName.get(key) ?? []), got[index + 1] ?? ""]);
      }
      for (const [key, text] of Object.entries(said))
        assert.deepEqual(byName.get(key), [text], key);
      const barred = [
        "connection",
        "transfer-encoding",
        "content-length",
        "upgrade",
        "te",
        "trailer",
      ];
      for (const key of [...barred, "forwarded", "proxy", "authorization", "keep-alive"]) {
        assert.ok(!byName.has(key), key);
      }
      const forwarded = [...byName.keys()].filter((key) => key.startsWith("x-forwarded"));
      assert.deepEqual(
        forwarded.toSorted(),
        Object.keys(said)
          .filter((key) => key.startsWith("x-f"))
          .toSorted(),
      );
      assert.doesNotMatch((byName.get("cookie") ?? []).join(), /__Host-sprite/);
    }),
  );
});

test("a sprite sets no cookie of ours, and none for its siblings", () => {
  const options = { status: 200, host: "web-b7k2.sprites.localhost", cookies: ["__Host-sprite"] };
  const set = (text: string): boolean => responseHeaders(["Set-Cookie", text], options).length > 0;
  for (const mine of ["a=1", "a=1; Path=/; Secure", "a=1; Domain=web-b7k2.sprites.localhost"]) {
    assert.ok(set(mine), mine);
  }
  const others = ["__Host-sprite=x", " __Host-sprite =x; Path=/", "a=1; domain=sprites.localhost"];
  for (const text of [...others, "a=1;DOMAIN = .sprites.localhost", "a=1; Domain=localhost"]) {
    assert.ok(!set(text), text);
  }
});

test("of what frames or binds a response nothing goes through", () => {
  fc.assert(
    fc.property(headers, (given) => {
      const got = responseHeaders(given, { status: 200, host: "web", cookies: [] });
      const names = got.filter((_, index) => index % 2 === 0);
      for (const key of [
        "connection",
        "transfer-encoding",
        "keep-alive",
        "upgrade",
        "trailer",
        "te",
      ]) {
        assert.ok(!names.includes(key), key);
      }
      assert.ok(names.every((key) => key === key.toLowerCase()));
      assert.ok(names.filter((key) => key === "content-length").length <= 1);
    }),
  );
});
