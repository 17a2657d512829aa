import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  emptyBodySha256,
  percentEncoded,
  signedHeaders,
  type UnsignedRequest,
} from "./signature.ts";

/** The examples of "Authenticating Requests: Using the Authorization Header", with the signatures printed there. */
const scope = {
  credentials: {
    accessKeyId: "AKIAIOSFODNN7EXAMPLE",
    secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    sessionToken: null,
    expiresAtMs: null,
  },
  region: "us-east-1",
  timeMs: Date.UTC(2013, 4, 24),
};
const base: UnsignedRequest = {
  method: "GET",
  host: "examplebucket.s3.amazonaws.com",
  path: "/",
  query: [],
  headers: {},
  bodySha256: emptyBodySha256,
};
const examples: Array<[string, UnsignedRequest, string]> = [
  [
    "a ranged GET",
    { ...base, path: "/test.txt", headers: { range: "bytes=0-9" } },
    "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
  ],
  [
    "a PUT with a body and a key to encode",
    {
      ...base,
      method: "PUT",
      path: `/${percentEncoded("test$file.text", { isPath: true })}`,
      headers: {
        date: "Fri, 24 May 2013 00:00:00 GMT",
        "x-amz-storage-class": "REDUCED_REDUNDANCY",
      },
      bodySha256: "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
    },
    "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
  ],
  [
    "a query without a value",
    { ...base, query: [["lifecycle", ""]] },
    "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
  ],
  [
    "a query in any order",
    { ...base, query: [["prefix", "J"] as const, ["max-keys", "2"] as const] },
    "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
  ],
];

describe("signedHeaders", () => {
  for (const [name, request, signature] of examples) {
    it(`signs AWS's example: ${name}`, () => {
      const authorization = signedHeaders(request, scope)["authorization"] ?? "";
      assert.equal(authorization.split("Signature=")[1], signature);
    });
  }

  it("signs the session's token too, and derives another key for another secret", () => {
    const credentials = { ...scope.credentials, sessionToken: "token" };
    const headers = signedHeaders(base, { ...scope, credentials });
    assert.equal(headers["x-amz-security-token"], "token");
    assert.match(headers["authorization"] ?? "", /SignedHeaders=host;.*x-amz-security-token,/);
    const other = { ...scope.credentials, secretAccessKey: "another" };
    const signatures = [scope.credentials, other, scope.credentials].map(
      (each) => signedHeaders(base, { ...scope, credentials: each })["authorization"],
    );
    assert.notEqual(signatures[0], signatures[1]);
    assert.equal(signatures[0], signatures[2]);
  });

  it("encodes everything but unreserved characters", () => {
    assert.equal(
      percentEncoded("a/b c+ü~!'()*", { isPath: true }),
      "a/b%20c%2B%C3%BC~%21%27%28%29%2A",
    );
    assert.equal(percentEncoded("a/b"), "a%2Fb");
  });
});
