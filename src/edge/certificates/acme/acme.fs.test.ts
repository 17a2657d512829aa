/** Real orders at Debian's pebble, by both kinds of proof. */
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { mkdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { createLog } from "../../../base/log.ts";
import { openCertificates, type Certificates } from "../open-certificates.ts";
import { acmeDirectory } from "../places.ts";
import { AcmeOrders } from "./acme-orders.ts";
import { DnsProof } from "./dns-proof.ts";
import { startPebble, type Pebble } from "../../../testing/pebble.ts";

const domain = "sprites.example";
const log = createLog({ level: "silent", room: "edge" });

describe("a service that speaks ACME", () => {
  let directory = "";
  let pebble: Pebble;
  let certificates: Certificates | null = null;
  const plain = createServer((request, response) => {
    const host = (request.headers.host ?? "").replace(/:\d+$/, "");
    const answer = certificates?.challengeAnswer(host, request.url ?? "") ?? null;
    response.writeHead(answer === null ? 404 : 200).end(answer ?? "");
  });
  before(async () => {
    directory = mkdtempSync(join(tmpdir(), "acme-test-"));
    plain.listen(0, "127.0.0.1");
    await once(plain, "listening");
    const { port: httpPort } = plain.address() as AddressInfo;
    pebble = await startPebble({ directory, httpPort });
  });
  after(async () => {
    certificates?.stop();
    await pebble[Symbol.asyncDispose]();
    plain.close();
    rmSync(directory, { recursive: true, force: true });
  });

  /** The names in the certificates that are kept. */
  const keptNames = (dataDirectory: string): string[] => {
    const kept = acmeDirectory(dataDirectory, pebble.directoryUrl);
    return readdirSync(kept)
      .filter((name) => name.endsWith(".certificate.pem"))
      .map((name) => {
        assert.equal(statSync(join(kept, name)).mode & 0o777, 0o600);
        const text = readFileSync(join(kept, name), "utf8");
        return (
          new X509Certificate(text.slice(text.indexOf("-----BEGIN CERT"))).subjectAltName ?? ""
        );
      })
      .toSorted();
  };

  test("gives each name its own certificate by HTTP-01, if there is a sprite of that name", async () => {
    const dataDirectory = join(directory, "http");
    const known = new Set([`box-b7k2.${domain}`]);
    const origin = { kind: "acme", email: null, dnsHook: null } as const;
    const { directoryUrl, rootsPath } = pebble;
    const open = async (): Promise<Certificates> => {
      const opened = await openCertificates({
        ...{ dataDirectory, domain, log, origin: { ...origin, directoryUrl, rootsPath } },
        isKnownName: (name) => known.has(name),
      });
      assert.deepEqual(opened.problems(), [], "nothing is tried before somebody can answer");
      opened.start();
      return opened;
    };
    certificates = await open();
    const { source } = certificates;
    const [box, same, api, unknown, foreign] = await Promise.all([
      source.contextFor(`box-b7k2.${domain}`),
      source.contextFor(`box-b7k2.${domain}`),
      source.contextFor(`api.${domain}`),
      source.contextFor(`nobody-b7k2.${domain}`),
      source.contextFor("example.com"),
    ]);
    assert.deepEqual(certificates.problems(), []);
    assert.ok(box !== null && api !== null);
    assert.equal(same, box);
    assert.deepEqual([unknown, foreign], [null, null]);
    assert.ok((await source.contextFor("")) !== null, "the domain itself has one");
    const names = [`DNS:api.${domain}`, `DNS:box-b7k2.${domain}`, `DNS:${domain}`];
    assert.deepEqual(keptNames(dataDirectory), names);
    certificates.stop();
    // The next start goes on with what is kept, and the account is known.
    certificates = await open();
    assert.ok((await certificates.source.contextFor(`box-b7k2.${domain}`)) !== null);
    known.add(`later-b7k2.${domain}`);
    assert.ok((await certificates.source.contextFor(`later-b7k2.${domain}`)) !== null);
    assert.deepEqual(certificates.problems(), []);
    assert.equal(certificates.challengeAnswer(domain, "/.well-known/acme-challenge/none"), null);
  });

  test("gives one for all names by DNS-01, whose records a hook adds and removes", async () => {
    const hook = join(directory, "hook");
    const script = `#!/bin/sh -e
records=${pebble.recordsPath}
case $1 in
add) printf '%s %s\\n' "$2" "$3" >> "$records" ;;
remove) grep -vxF "$2 $3" "$records" > "$records.new" || true; mv "$records.new" "$records" ;;
esac
echo "$1 $2" >> ${directory}/calls
`;
    writeFileSync(hook, script);
    chmodSync(hook, 0o700);
    const ordersDirectory = join(directory, "dns");
    mkdirSync(ordersDirectory);
    const { directoryUrl, rootsPath } = pebble;
    const orders = new AcmeOrders({
      ...{ directoryUrl, rootsPath, directory: ordersDirectory, email: "ops@sprites.example" },
      ...{ proof: new DnsProof(hook), pollIntervalMs: 50 },
    });
    const ordered = await orders.order([domain, `*.${domain}`]);
    const certificate = new X509Certificate(ordered.certificatePem);
    assert.equal(certificate.checkHost(`box-b7k2.${domain}`), `*.${domain}`);
    assert.equal(certificate.checkHost(domain), domain);
    assert.equal(readFileSync(pebble.recordsPath, "utf8"), "", "the records are gone again");
    const calls = readFileSync(join(directory, "calls"), "utf8");
    assert.equal(calls.match(new RegExp(`^add _acme-challenge\\.${domain}\\.$`, "gm"))?.length, 2);
    assert.ok(existsSync(join(ordersDirectory, "account-key.pem")));
  });

  test("a hook that fails is quoted", async () => {
    const hook = join(directory, "bad-hook");
    writeFileSync(hook, "#!/bin/sh\necho 'no such zone' >&2\nexit 3\n");
    chmodSync(hook, 0o700);
    const options = { rootsPath: pebble.rootsPath, directory, email: null, pollIntervalMs: 50 };
    const proof = new DnsProof(hook);
    const { directoryUrl } = pebble;
    const orders = new AcmeOrders({ ...options, directoryUrl, proof });
    await assert.rejects(orders.order([domain]), /bad-hook add failed: no such zone/);
  });
});
