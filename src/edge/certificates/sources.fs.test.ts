import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { connect, createServer, type SecureContext } from "node:tls";

import { Authority } from "./authority.ts";
import { AuthoritySource } from "./authority-source.ts";
import { FileSource } from "./file-source.ts";
import { filesCheckIntervalMs, leavesMax } from "./limits.ts";

let directory = "";
before(() => {
  directory = mkdtempSync(join(tmpdir(), "certificate-sources-"));
});
after(() => rmSync(directory, { recursive: true, force: true }));

/** The serial number that a client sees, which has verified the certificate for the name. */
async function handshake(context: SecureContext, name: string, ca: string): Promise<string> {
  const server = createServer({ SNICallback: (_, done) => done(null, context) });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const socket = connect({ host: "127.0.0.1", port, servername: name, ca });
  try {
    await once(socket, "secureConnect");
    return socket.getPeerCertificate().serialNumber;
  } finally {
    socket.destroy();
    server.close();
  }
}

describe("certificates of the own authority", () => {
  test("one wildcard is for the domain and what is one label below, and nothing else", async () => {
    const domain = "sprites.localhost";
    const authority = await Authority.open({ directory, domain });
    const source = new AuthoritySource({ authority, domain });
    const context = await source.contextFor(`box-b7k2.${domain}`);
    assert.ok(context !== null);
    for (const name of [domain, `api.${domain}`, `other-b7k2.${domain}`, ""]) {
      assert.equal(await source.contextFor(name), context, name);
    }
    for (const name of ["example.com", `a.b.${domain}`, `evil${domain}`, `.${domain}`]) {
      assert.equal(await source.contextFor(name), null, name);
    }
    await handshake(context, `box-b7k2.${domain}`, authority.certificatePem);
    await handshake(context, domain, authority.certificatePem);
  });

  test("below a domain of one label each name has its own, and they are bounded", async () => {
    const authority = await Authority.open({ directory, domain: "localhost" });
    const source = new AuthoritySource({ authority, domain: "localhost" });
    const first = await source.contextFor("box-b7k2.localhost");
    assert.ok(first !== null);
    await handshake(first, "box-b7k2.localhost", authority.certificatePem);
    assert.equal(await source.contextFor("box-b7k2.localhost"), first);
    let issued = 0;
    const counting = {
      issue: async () => {
        issued += 1;
        return await authority.issue(["localhost"]);
      },
    };
    const bounded = new AuthoritySource({ authority: counting, domain: "localhost" });
    await bounded.contextFor("name-0.localhost");
    for (let i = 0; i <= leavesMax; i++) await bounded.contextFor(`name-${i}.localhost`);
    await bounded.contextFor("name-0.localhost");
    assert.equal(issued, leavesMax + 2, "the one that was not used for longest was dropped");
  });

  test("a certificate is renewed when two thirds of its life are over", async () => {
    const domain = "sprites.localhost";
    let nowMs = Date.now();
    const now = (): number => nowMs;
    const authority = await Authority.open({ directory, domain, now });
    const source = new AuthoritySource({ authority, domain, now });
    const first = await source.contextFor(domain);
    nowMs += 59 * 24 * 3600_000;
    assert.equal(await source.contextFor(domain), first);
    nowMs += 2 * 24 * 3600_000;
    const second = await source.contextFor(domain);
    assert.ok(second !== null && second !== first);
  });
});

test("an own certificate is read again when it changes, and the last good one is kept", async () => {
  const domain = "sprites.example";
  const authority = await Authority.open({ directory, domain });
  const certificatePath = join(directory, "own.pem");
  const keyPath = join(directory, "own-key.pem");
  const issue = async (): Promise<void> => {
    const { certificatePem, keyPem } = await authority.issue([`*.${domain}`]);
    writeFileSync(certificatePath, certificatePem);
    writeFileSync(keyPath, keyPem);
  };
  await issue();
  let nowMs = 0;
  const problems: (string | null)[] = [];
  const source = await FileSource.open({
    ...{ certificatePath, keyPath, now: () => nowMs },
    onProblem: (problem) => problems.push(problem?.message ?? null),
  });
  const serial = async (): Promise<string> => {
    nowMs += filesCheckIntervalMs;
    const name = `box-b7k2.${domain}`;
    return await handshake(await source.contextFor(), name, authority.certificatePem);
  };
  const first = await serial();
  assert.equal(await serial(), first);
  await issue();
  const second = await serial();
  assert.notEqual(second, first);
  writeFileSync(keyPath, "half a key");
  utimesSync(keyPath, 1, 1);
  assert.equal(await serial(), second, "the last good one");
  assert.match(problems.join(), /no certificate and its key/);
  await issue();
  assert.notEqual(await serial(), second);
  assert.equal(problems.at(-1), null);
  const missing = { certificatePath: join(directory, "none.pem"), keyPath };
  await assert.rejects(FileSource.open({ ...missing, onProblem: () => undefined }), /ENOENT/);
});
