import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

import { SpriteError } from "../contract/errors.ts";
import { Organizations } from "./organizations.ts";
import { authenticate, createToken, parseAuthorization, secretsEqual } from "./tokens.ts";

const directory = mkdtempSync(join(tmpdir(), "tokens-test-"));
after(() => rmSync(directory, { recursive: true, force: true }));

let count = 0;
function newData(): string {
  count += 1;
  return join(directory, `data-${count}`);
}

function assertRefused(organizations: Organizations, header: string | undefined): void {
  assert.throws(
    () => authenticate(organizations, header),
    (error) => error instanceof SpriteError && error.code === "unauthorized",
    `${header}`,
  );
}

test("a token is org-slug/org-id/token-id/value, opens its organization, and is kept only as a hash", () => {
  const dataDirectory = newData();
  const token = createToken({ dataDirectory, orgSlug: "acme", description: "ci" });
  assert.match(token, /^acme\/[a-z0-9]{12}\/[a-z0-9]{16}\/[\w-]{43}$/);
  const organizations = new Organizations(dataDirectory);
  const caller = authenticate(organizations, `Bearer ${token}`);
  assert.equal(caller.organization.record.slug, "acme");
  assert.match(caller.organization.record.shortId, /^[a-z0-9]{4}$/);
  organizations.close();
  const value = token.split("/").at(-1) ?? "";
  for (const file of readdirSync(join(dataDirectory, "orgs"))) {
    assert.ok(!readFileSync(join(dataDirectory, "orgs", file)).includes(value));
  }
});

test("the whole token counts, and only as a Bearer", () => {
  const dataDirectory = newData();
  const token = createToken({ dataDirectory, orgSlug: "acme", description: "" });
  const other = createToken({ dataDirectory, orgSlug: "other", description: "" });
  const organizations = new Organizations(dataDirectory);
  authenticate(organizations, `bearer   ${token}`);
  const [slug, orgId, tokenId, value] = token.split("/");
  const wrong = [
    undefined,
    "",
    "Bearer",
    "Bearer ",
    token,
    `Basic ${token}`,
    `FlyV1 ${token}`,
    `Bearer ${token}x`,
    `Bearer ${token.slice(0, -1)}`,
    `Bearer ${slug}/xxxxxxxxxxxx/${tokenId}/${value}`,
    `Bearer other/${orgId}/${tokenId}/${value}`,
    `Bearer acme/${orgId}/${other.split("/")[2]}/${value}`,
    `Bearer ${slug}/${orgId}/${tokenId}`,
    `Bearer ../orgs/acme/${tokenId}/${value}`,
    `Bearer ..%2f..%2fetc/${orgId}/${tokenId}/${value}`,
    `Bearer nobody/${orgId}/${tokenId}/${value}`,
    `Bearer ${"x".repeat(100_000)}`,
    `Bearer ${"/".repeat(300)}`,
    "Bearer \0",
  ];
  for (const header of wrong) assertRefused(organizations, header);
  assert.deepEqual(
    readdirSync(join(dataDirectory, "orgs")).filter((file) => file.endsWith(".db")),
    ["acme.db", "other.db"],
  );
  organizations.close();
});

test("another process's token is good at once, and a revoked one is not", () => {
  const dataDirectory = newData();
  const organizations = new Organizations(dataDirectory);
  const script = `
    const { createToken } = await import(${JSON.stringify(new URL("tokens.ts", import.meta.url).href)});
    process.stdout.write(createToken(JSON.parse(process.argv[1])));`;
  const issue = (orgSlug: string): string => {
    const options = JSON.stringify({ dataDirectory, orgSlug, description: "" });
    const args = ["--input-type=module", "-e", script, options];
    return execFileSync(process.execPath, args, { encoding: "utf8" });
  };
  const first = issue("acme");
  const { organization, tokenId } = authenticate(organizations, `Bearer ${first}`);
  const second = issue("acme");
  assert.equal(authenticate(organizations, `Bearer ${second}`).organization, organization);
  const elsewhere = new Organizations(dataDirectory);
  assert.ok(elsewhere.find("acme")?.revokeToken(tokenId, Date.now()));
  assertRefused(organizations, `Bearer ${first}`);
  authenticate(organizations, `Bearer ${second}`);
  elsewhere.close();
  organizations.close();
});

test("a slug is checked before anything is made of it", () => {
  const dataDirectory = newData();
  for (const orgSlug of ["", "..", "a/b", "A", "-a", "a\0", "x".repeat(41)]) {
    assert.throws(
      () => createToken({ dataDirectory, orgSlug, description: "" }),
      (error) => error instanceof SpriteError && error.code === "invalid_request",
    );
  }
});

test("authorization headers", () => {
  assert.equal(parseAuthorization("FlyV1 FlyV1 abc", "FlyV1"), "FlyV1 abc");
  assert.equal(parseAuthorization("BEARER a/b", "Bearer"), "a/b");
  assert.equal(parseAuthorization("Bearera/b", "Bearer"), null);
  assert.ok(secretsEqual("s3cret", "s3cret") && !secretsEqual("s3cret", "s3creT"));
});
