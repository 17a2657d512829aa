/** `sprite trust` with real certificate stores, against what a server would answer. */
import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";

import { Authority } from "../edge/certificates/authority.ts";

const sprite = resolve(import.meta.dirname, "../../bin/sprite");
const domain = "sprites.localhost";

describe("sprite trust", () => {
  const home = mkdtempSync(join(tmpdir(), "trust-"));
  const store = join(home, ".pki/nssdb");
  let answer: string | null = null;
  let authority: Authority;
  const plain = createServer((_, response) => {
    response.writeHead(answer === null ? 404 : 200).end(answer ?? "");
  });
  let tls = createTlsServer();
  before(async () => {
    authority = await Authority.open({ directory: home, domain });
    answer = authority.certificatePem;
    const { certificatePem: cert, keyPem: key } = await authority.issue([domain]);
    tls = createTlsServer({ cert, key }, (_, response) => response.end(answer ?? ""));
    for (const server of [plain, tls]) {
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
    }
  });
  after(() => {
    for (const server of [plain, tls]) server.close();
    rmSync(home, { recursive: true, force: true });
  });

  const run = async (
    words: string[],
    given: { host?: string; isTls?: boolean } = {},
  ): Promise<{ code: number; stdout: string; stderr: string }> => {
    const { host = "127.0.0.1", isTls = false } = given;
    const { port } = (isTls ? tls : plain).address() as AddressInfo;
    const url = `${isTls ? "https" : "http"}://${host}:${port}`;
    const env = { PATH: process.env["PATH"], HOME: home, SPRITES_API_URL: url };
    return await new Promise((done) => {
      execFile(sprite, ["trust", ...words], { env }, (error, stdout, stderr) => {
        done({ code: error === null ? 0 : Number(error.code), stdout, stderr });
      });
    });
  };
  const names = (): string =>
    execFileSync("certutil", ["-L", "-d", `sql:${store}`], { encoding: "utf8" });

  test("adds the authority to the browsers' store, once, and takes it away again", async () => {
    for (let time = 0; time < 2; time++) {
      const { code, stdout, stderr } = await run(["--browsers"]);
      assert.equal(code, 0, stderr);
      assert.equal(stdout, `${store}\n`);
      assert.match(stderr, /certificates for sprites\.localhost and names below it/);
      assert.match(stderr, /sprite trust --remove/);
    }
    assert.equal(names().match(/OpenSprites sprites\.localhost +C,,/g)?.length, 1);
    const removed = await run(["--browsers", "--remove"]);
    assert.deepEqual([removed.code, removed.stdout], [0, `${store}\n`]);
    assert.ok(!names().includes("OpenSprites"));
    assert.equal((await run(["--browsers", "--remove"])).code, 0, "twice is no error");
  });

  test("prints it, and changes nothing", async () => {
    const { code, stdout } = await run(["--print"]);
    assert.equal(code, 0);
    assert.equal(stdout.trim(), authority.certificatePem.trim());
  });

  test("over TLS that is not trusted yet the fingerprint decides", async () => {
    const openssl = ["x509", "-noout", "-fingerprint", "-sha256"];
    const said = execFileSync("openssl", openssl, { input: authority.certificatePem });
    const fingerprint = said.toString().split("=")[1]?.trim() ?? "";
    const isTls = true;
    const unnamed = await run(["--print"], { isTls });
    assert.equal(unnamed.code, 1);
    assert.match(unnamed.stderr, /spritesd ca --fingerprint/);
    const wrong = await run(["--print", "--fingerprint", fingerprint.replace(/.$/, "")], { isTls });
    assert.equal(wrong.code, 1);
    const right = await run(["--print", "--fingerprint", fingerprint.toLowerCase()], { isTls });
    assert.equal(right.code, 0, right.stderr);
  });

  test("an authority that speaks for everybody, or for others, is refused", async () => {
    const key = join(home, "key.pem");
    const words = [
      "req",
      "-x509",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:P-256",
      "-nodes",
    ];
    const made = execFileSync("openssl", [...words, "-keyout", key, "-subj", "/CN=any"], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    answer = made.toString();
    const any = await run(["--browsers"]);
    assert.equal(any.code, 1);
    assert.match(any.stderr, /not limited to one domain/);
    answer = (await Authority.open({ directory: home, domain: "example.com" })).certificatePem;
    const others = await run(["--browsers"]);
    assert.equal(others.code, 1);
    assert.match(others.stderr, /asks to be trusted for example\.com/);
    answer = "no certificate";
    assert.equal((await run(["--browsers"])).code, 1);
    answer = null;
    assert.match((await run(["--browsers"])).stderr, /no certificate authority of its own/);
    assert.ok(!names().includes("OpenSprites"));
  });
});
