import assert from "node:assert/strict";
import { once } from "node:events";
import { request, type IncomingMessage } from "node:http";
import { after, before, describe, test } from "node:test";

import { PlainPort } from "./plain-port.ts";

const domain = "sprites.example";
const challenge = "/.well-known/acme-challenge/token";

describe("the plain HTTP port", () => {
  const plain = new PlainPort({
    domain,
    tlsPort: 8443,
    challengeAnswer: (host, path) => (host === domain && path === challenge ? "proof" : null),
  });
  let port = 0;
  before(async () => {
    ({ port } = await plain.listen({ host: "127.0.0.1", port: 0 }));
  });
  after(async () => await plain.stop());

  const ask = async (host: string, path: string, method = "GET") => {
    const asked = request({ host: "127.0.0.1", port, path, method, headers: { host } });
    asked.end();
    const [response] = (await once(asked, "response")) as [IncomingMessage];
    let body = "";
    for await (const chunk of response) body += String(chunk);
    return { status: response.statusCode, location: response.headers.location, body };
  };

  test("sends everybody to the TLS port, with method, path and query", async () => {
    const sent = await ask(`BOX-b7k2.${domain}:80`, "/a?b=c", "POST");
    assert.equal(sent.status, 308);
    assert.equal(sent.location, `https://box-b7k2.${domain}:8443/a?b=c`);
  });

  test("answers a certificate service for the name that it asks about", async () => {
    assert.deepEqual(await ask(domain, challenge), {
      ...{ status: 200, body: "proof", location: undefined },
    });
    assert.equal((await ask(`box-b7k2.${domain}`, challenge)).status, 308);
  });

  test("sends nobody to other hosts", async () => {
    for (const host of ["evil.example", `${domain}.evil.example`, "", `${domain}@evil.example`]) {
      assert.equal((await ask(host, "/")).status, 404, host);
    }
    assert.equal((await ask(domain, "http://evil.example/")).status, 404);
  });
});
