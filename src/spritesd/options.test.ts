import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Command } from "commander";
import { addServeOptions, parseListen, parseSize, parseUplink, serveOptionsOf } from "./options.ts";

test("sizes have binary suffixes", () => {
  assert.equal(parseSize("512M"), 512 * 2 ** 20);
  assert.equal(parseSize("1.5G"), 1.5 * 2 ** 30);
  assert.equal(parseSize("4096"), 4096);
  for (const wrong of ["", "G", "-1G", "0", "1X", "1G1"]) assert.throws(() => parseSize(wrong));
});

test("addresses are host:port, IPv6 in brackets", () => {
  assert.deepEqual(parseListen("127.0.0.1:7777"), { host: "127.0.0.1", port: 7777 });
  assert.deepEqual(parseListen("[::1]:0"), { host: "::1", port: 0 });
  for (const wrong of ["7777", "host", "host:", "host:99999", "::1:80"]) {
    assert.throws(() => parseListen(wrong), wrong);
  }
});

test("the way out is one of four kinds", () => {
  assert.deepEqual(parseUplink("default"), { kind: "default-route" });
  assert.deepEqual(parseUplink("none"), { kind: "none" });
  assert.deepEqual(parseUplink("interface:eth1"), { kind: "interface", name: "eth1" });
  assert.deepEqual(parseUplink("netns:lab"), { kind: "network-namespace", name: "lab" });
  for (const wrong of ["", "eth0", "netns:", "netns:a b"]) assert.throws(() => parseUplink(wrong));
});

test("flags win over their defaults, and every default is valid", () => {
  const command = addServeOptions(new Command().exitOverride());
  command.parse(["--data", "/d", "--memory-max", "1G", "--runtime", "crun"], { from: "user" });
  const options = serveOptionsOf(command.opts());
  assert.equal(options.data, "/d");
  assert.equal(options.memoryBytesMax, 2 ** 30);
  assert.equal(options.runtime, "crun");
  assert.deepEqual(options.listen, { host: "127.0.0.1", port: 7777 });
  assert.equal(options.cpuCoresMax, 8);
  assert.equal(options.bucket, null);
  assert.equal(options.scrubRateBytes, 2 ** 20);
});

test("the scrubber has a rate, or is off", () => {
  const parse = (text: string): number | null => {
    const quiet = { writeErr: () => undefined };
    const command = addServeOptions(new Command().exitOverride().configureOutput(quiet));
    command.parse(["--scrub-rate", text], { from: "user" });
    return serveOptionsOf(command.opts()).scrubRateBytes;
  };
  assert.equal(parse("512K"), 512 * 2 ** 10);
  assert.equal(parse("off"), null);
  for (const wrong of ["0", "fast", ""]) assert.throws(() => parse(wrong), /bytes a second/);
});

test("certificates come from one place, which the ports must allow for", () => {
  const parse = (...given: string[]) => {
    const quiet = { writeErr: () => undefined };
    const command = addServeOptions(new Command().exitOverride().configureOutput(quiet));
    command.parse(given, { from: "user" });
    return serveOptionsOf(command.opts()).certificates;
  };
  const tls = ["--listen-tls", "127.0.0.1:8443"];
  const files = ["--tls-cert", "c.pem", "--tls-key", "k.pem"];
  const acme = ["--acme", "letsencrypt"];
  assert.deepEqual(parse(...tls), { kind: "authority" });
  assert.partialDeepStrictEqual(parse(...tls, ...files), { kind: "files", keyPath: "k.pem" });
  const byDns = parse(...tls, ...acme, "--acme-dns-hook", "/hook");
  assert.partialDeepStrictEqual(byDns, { kind: "acme", dnsHook: "/hook", email: null });
  assert.partialDeepStrictEqual(parse(...tls, "--listen-http", "0.0.0.0:80", ...acme), {
    directoryUrl: "https://acme-v02.api.letsencrypt.org/directory",
  });
  assert.throws(() => parse(...tls, ...acme), /--listen-http/);
  assert.throws(() => parse("--listen-tls", "off", ...files), /--listen-tls/);
  assert.throws(() => parse(...tls, "--tls-cert", "c.pem"), /go together/);
  assert.throws(() => parse(...tls, ...files, ...acme), /either/);
  assert.throws(() => parse(...tls, "--acme-email", "a@b.example"), /need --acme/);
  assert.throws(() => parse(...tls, "--acme", "http://plain.example"), /https/);
});

test("README lists every setting, with its variable", () => {
  const readme = readFileSync(join(import.meta.dirname, "../../README.md"), "utf8");
  const listed = [...readme.matchAll(/^\| `(--[a-z-]+)` \| `(SPRITES_[A-Z_]+)` \|/gm)];
  const settings = addServeOptions(new Command()).options;
  assert.deepEqual(
    listed.map(([, flag, variable]) => `${flag} ${variable}`).toSorted(),
    settings.map(({ long, envVar }) => `${long} ${envVar}`).toSorted(),
  );
});
