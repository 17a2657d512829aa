import assert from "node:assert/strict";
import { test } from "node:test";

import { startHarness } from "./testing/harness.ts";

test("the API's document and the page for agents need no token", async () => {
  await using harness = await startHarness();
  const document = await fetch(`${harness.baseUrl}/openapi.json`);
  assert.equal(document.status, 200);
  assert.equal(document.headers.get("content-type"), "application/json");
  assert.equal(document.headers.get("sprite-version"), "v0.1.0");
  const { openapi, info, paths } = (await document.json()) as Record<string, object>;
  assert.equal(openapi, "3.1.0");
  assert.partialDeepStrictEqual(info, { version: "0.1.0" });
  assert.ok("/v1/sprites/{name}/exec" in (paths ?? {}));

  const page = await fetch(`${harness.baseUrl}/llms.txt`);
  assert.match(page.headers.get("content-type") ?? "", /^text\/plain/);
  assert.match(await page.text(), /openapi\.json/);
});

test("they are only for reading", async () => {
  await using harness = await startHarness();
  const head = await fetch(`${harness.baseUrl}/openapi.json`, { method: "HEAD" });
  assert.ok(Number(head.headers.get("content-length")) > 1000);
  const post = await fetch(`${harness.baseUrl}/llms.txt`, { method: "POST" });
  assert.equal(post.status, 405);
  assert.equal(post.headers.get("allow"), "GET, HEAD");
});

test("the server's own authority is for everybody, and what is wrong with certificates is told", async () => {
  let problems: string[] = [];
  const certificates = { authorityPem: async () => "a certificate\n", problems: () => problems };
  await using harness = await startHarness({ certificates });
  const authority = await fetch(`${harness.baseUrl}/ca.pem`);
  assert.equal(authority.status, 200);
  assert.equal(await authority.text(), "a certificate\n");
  assert.equal((await fetch(`${harness.baseUrl}/ca.pem`, { method: "POST" })).status, 405);
  const ready = async (): Promise<unknown> =>
    await (await fetch(`${harness.baseUrl}/readyz`)).json();
  assert.deepEqual(await ready(), { status: "ok" });
  problems = ["no certificate for sprites.example: the service is away"];
  assert.deepEqual(await ready(), { status: "ok", problems });
  await using plain = await startHarness();
  assert.equal((await fetch(`${plain.baseUrl}/ca.pem`)).status, 404);
});
