import assert from "node:assert/strict";
import { test } from "node:test";

import { openAdvisories, type RuntimeVersion } from "./advisories.ts";
import { checkKernelVersion, judgeCgroups } from "./kernel-checks.ts";
import { judgeDisk } from "./machine-checks.ts";
import { judgeRuntime } from "./runtime-checks.ts";
import { compareVersions, parseVersion } from "./version.ts";

const runc = (version: string, more: Partial<RuntimeVersion> = {}): RuntimeVersion => ({
  runtime: "runc",
  version,
  packageVersion: null,
  changelog: null,
  ...more,
});

test("versions compare by number, and a candidate comes before its release", () => {
  const compare = (left: string, right: string): number => {
    const [a, b] = [parseVersion(left), parseVersion(right)];
    assert.ok(a !== null && b !== null);
    return Math.sign(compareVersions(a, b));
  };
  assert.equal(compare("1.1.9", "1.1.12"), -1);
  assert.equal(compare("6.18.44-generic", "5.19"), 1);
  assert.equal(compare("1.4.0-rc.2", "1.4.0-rc.3"), -1);
  assert.equal(compare("1.4.0-rc.3", "1.4.0"), -1);
  assert.equal(compare("1.4.0", "1.4.0"), 0);
  assert.equal(parseVersion("none"), null);
});

test("a kernel older than 5.19 fails", () => {
  assert.equal(checkKernelVersion("5.15.0-91-generic").level, "fail");
  assert.equal(checkKernelVersion("5.19.0").level, "ok");
  assert.equal(checkKernelVersion("6.1.0-32-amd64").level, "ok");
});

test("a runc with a known breakout fails, one that only lacks word of the newest fixes warns", () => {
  assert.equal(judgeRuntime(runc("1.1.11"), false).level, "fail");
  assert.equal(judgeRuntime(runc("1.1.12"), false).level, "warn");
  assert.equal(judgeRuntime(runc("1.2.7"), false).level, "warn");
  assert.equal(judgeRuntime(runc("1.2.8"), false).level, "ok");
  assert.equal(judgeRuntime(runc("1.3.0"), false).level, "warn");
  assert.equal(judgeRuntime(runc("1.4.0-rc.2"), false).level, "warn");
  assert.equal(judgeRuntime(runc("1.5.0"), false).level, "ok");
});

test("a distribution's backport counts: by its package version, or by its change log", () => {
  const debian = runc("1.1.5+ds1", { packageVersion: "1.1.5+ds1-1+deb12u1" });
  assert.deepEqual(openAdvisories(debian).floor, []);
  assert.equal(openAdvisories(debian).other.length, 3);
  const patched = {
    ...debian,
    changelog: "* CVE-2025-31133, CVE-2025-52565, CVE-2025-52881: fixed",
  };
  assert.equal(judgeRuntime(patched, false).level, "ok");
  assert.equal(judgeRuntime(runc("1.1.5", { packageVersion: "1.1.5+ds1-1" }), false).level, "fail");
});

test("an old crun fails on hybrid cgroups only", () => {
  const crun: RuntimeVersion = { ...runc("1.8.1"), runtime: "crun" };
  assert.equal(judgeRuntime(crun, true).level, "fail");
  assert.equal(judgeRuntime(crun, false).level, "ok");
});

test("cgroups: v2, v1 and hybrid hold limits; a missing controller warns; none fails", () => {
  const needed = ["cpu", "memory", "pids"];
  const none = { unified: null, legacy: [], mode: "none" as const };
  assert.equal(judgeCgroups({ ...none, mode: "v2", unified: needed }).level, "ok");
  assert.match(judgeCgroups({ ...none, legacy: needed, mode: "hybrid" }).found, /^hybrid/);
  const partial = judgeCgroups({ ...none, mode: "v2", unified: ["cpu", "pids"] });
  assert.equal(partial.level, "warn");
  assert.match(partial.advice ?? "", /memory/);
  assert.equal(judgeCgroups(none).level, "fail");
});

test("every failure and warning says what to do", () => {
  const disk = { name: "disk", directory: "/x", floor: 100, comfort: 200 };
  const findings = [
    judgeDisk({ ...disk, freeBytes: 99 }),
    judgeDisk({ ...disk, freeBytes: 150 }),
    checkKernelVersion("4.4"),
    judgeRuntime(runc("1.0.0"), false),
  ];
  assert.deepEqual(
    findings.map(({ level }) => level),
    ["fail", "warn", "fail", "fail"],
  );
  for (const { advice } of findings) assert.ok((advice ?? "").length > 10);
  assert.equal(judgeDisk({ ...disk, freeBytes: 201 }).level, "ok");
});
