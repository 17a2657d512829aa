import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test, type TestContext } from "node:test";

import { constrainedDomain } from "../../contract/name-constraints.ts";
import { Authority } from "./authority.ts";
import { removeDrafts } from "./files.ts";

const domain = "sprites.localhost";

function temporaryDirectory(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "authority-test-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

describe("the certificate authority", () => {
  test("is made once, by however many at the same time, and only its owner can read its key", async (t) => {
    const directory = temporaryDirectory(t);
    const made = await Promise.all(
      Array.from({ length: 5 }, () => Authority.open({ directory, domain })),
    );
    const pems = new Set(made.map((authority) => authority.certificatePem));
    assert.equal(pems.size, 1);
    assert.deepEqual(readdirSync(directory), [`authority-${domain}.pem`], "no drafts are left");
    assert.equal(statSync(join(directory, `authority-${domain}.pem`)).mode & 0o777, 0o600);
    const again = await Authority.open({ directory, domain });
    assert.equal(again.certificatePem, made[0]?.certificatePem);
  });

  test("a crash in the middle of making it leaves none, and the next start sweeps and makes it", async (t) => {
    const directory = temporaryDirectory(t);
    writeFileSync(join(directory, `authority-${domain}.pem.abc.draft`), "half a k");
    await removeDrafts(directory);
    await Authority.open({ directory, domain });
    assert.deepEqual(readdirSync(directory), [`authority-${domain}.pem`]);
  });

  test("speaks for its domain alone, in openssl's eyes as well", async (t) => {
    const directory = temporaryDirectory(t);
    const authority = await Authority.open({ directory, domain });
    assert.equal(constrainedDomain(new X509Certificate(authority.certificatePem).raw), domain);
    const trusted = join(directory, "ca.pem");
    writeFileSync(trusted, authority.certificatePem);
    const verify = async (names: string[]): Promise<string> => {
      const { certificatePem } = await authority.issue(names);
      const path = join(directory, "leaf.pem");
      writeFileSync(path, certificatePem);
      const options = { encoding: "utf8", stdio: "pipe" } as const;
      return execFileSync("openssl", ["verify", "-x509_strict", "-CAfile", trusted, path], options);
    };
    assert.match(await verify([domain, `*.${domain}`]), /: OK/);
    await assert.rejects(verify(["example.com"]), /permitted subtree violation/);
  });

  test("a leaf says what it is for, and matches names in the domain", async (t) => {
    const authority = await Authority.open({ directory: temporaryDirectory(t), domain });
    const issued = await authority.issue([domain, `*.${domain}`]);
    const leaf = new X509Certificate(issued.certificatePem);
    assert.ok(leaf.verify(new X509Certificate(authority.certificatePem).publicKey));
    assert.equal(leaf.ca, false);
    assert.equal(leaf.checkHost(`box-b7k2.${domain}`), `*.${domain}`);
    assert.equal(leaf.checkHost("box.example.com"), undefined);
    assert.ok(issued.notAfterMs > Date.now());
  });

  test("is replaced when its time is nearly over", async (t) => {
    const directory = temporaryDirectory(t);
    const first = await Authority.open({ directory, domain });
    const now = (): number => first.notAfterMs - 24 * 3600_000;
    const second = await Authority.open({ directory, domain, now });
    assert.notEqual(second.certificatePem, first.certificatePem);
    assert.ok(second.notAfterMs > first.notAfterMs);
  });

  test("a file that holds something else is named, and left as it is", async (t) => {
    const directory = temporaryDirectory(t);
    const path = join(directory, `authority-${domain}.pem`);
    writeFileSync(path, "not a key");
    await assert.rejects(Authority.open({ directory, domain }), (error: Error) =>
      error.message.includes(path),
    );
    assert.equal(readFileSync(path, "utf8"), "not a key");
  });
});
