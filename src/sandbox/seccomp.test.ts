import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { allowedCalls, deniedCalls } from "./seccomp-names.ts";
import { seccompProfile } from "./seccomp.ts";

test("no call is in both lists or twice in one", () => {
  const all = [...allowedCalls, ...deniedCalls];
  assert.equal(new Set(all).size, all.length);
});

test("what can leave the sandbox is in neither list of free calls", () => {
  const dangerous =
    "bpf clone3 io_uring_setup keyctl mount open_by_handle_at setns userfaultfd unshare clone socket";
  for (const name of dangerous.split(" ")) assert.ok(!allowedCalls.includes(name), name);
});

test("unknown calls do not exist, privileged ones are not permitted", () => {
  const profile = seccompProfile();
  assert.equal(profile.defaultErrnoRet, 38);
  const refusal = profile.syscalls.find((rule) => rule.names === deniedCalls);
  assert.equal(refusal?.errnoRet, 1);
});

test("every name is a call of the kernel that its own headers know, or a newer one", (context) => {
  const header = "/usr/include/x86_64-linux-gnu/asm/unistd_64.h";
  if (!existsSync(header)) return context.diagnostic("no kernel headers here");
  const known = new Set(
    [...readFileSync(header, "utf8").matchAll(/__NR_(\w+)/g)].map((match) => match[1]),
  );
  const newer = "cachestat fchmodat2 map_shadow_stack futex_wake futex_wait futex_requeue mseal";
  const newest = "setxattrat getxattrat listxattrat removexattrat";
  const later = new Set(`${newer} ${newest}`.split(" "));
  const unknown = [...allowedCalls, ...deniedCalls].filter(
    (name) => !known.has(name) && !later.has(name),
  );
  assert.deepEqual(unknown, []);
});

test("a clone with any namespace flag matches a refusal and no permission", () => {
  const rules = seccompProfile().syscalls.filter((rule) => rule.names.includes("clone"));
  const matches = (flags: bigint) =>
    rules
      .filter((rule) =>
        (rule.args ?? []).every(
          ({ value, valueTwo }) => (flags & BigInt(value)) === BigInt(valueTwo ?? 0),
        ),
      )
      .map((rule) => rule.action);
  assert.deepEqual(matches(0x1200011n), ["SCMP_ACT_ALLOW"]);
  for (const flag of [
    0x20000n,
    0x2000000n,
    0x4000000n,
    0x8000000n,
    0x10000000n,
    0x20000000n,
    0x40000000n,
  ]) {
    const found = matches(0x11n | flag);
    assert.ok(found.length > 0 && found.every((action) => action === "SCMP_ACT_ERRNO"));
  }
});
