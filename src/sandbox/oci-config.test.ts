import assert from "node:assert/strict";
import { test } from "node:test";

import { initArguments, resolverFile } from "./init-script.ts";
import { ociConfig, type OciConfigOptions } from "./oci-config.ts";
import { privilegesOf } from "./privileges.ts";
import { seccompProfile } from "./seccomp.ts";

const options: OciConfigOptions = {
  spriteId: "4f1c",
  isFork: false,
  isSpare: false,
  hostname: "box",
  nameserver: "10.209.0.1",
  rootDirectory: "/run/x/rootfs",
  dotSpriteDirectory: "/run/x/private/dot-sprite",
  busyboxFile: "/usr/bin/busybox",
  hostIdBase: 1_000_000,
  limits: { memoryBytesMax: 1024 ** 3, cpuCoresMax: 1.5, pidsMax: 99 },
  limitSwap: true,
  hasSoftLimit: false,
  openFiles: { soft: 10, hard: 20 },
  cgroupPath: "/opensprites-1/7",
  seccomp: seccompProfile(),
  privileges: privilegesOf({}),
};

interface Config {
  process: {
    noNewPrivileges: boolean;
    capabilities: Record<string, string[]>;
    rlimits: unknown[];
    args: string[];
  };
  mounts: Array<{ destination: string; type: string; options: string[] }>;
  linux: {
    namespaces: Array<{ type: string; path?: string }>;
    uidMappings: unknown;
    gidMappings: unknown;
    cgroupsPath: string;
    resources: Record<string, unknown>;
    maskedPaths: string[];
  };
}

const configOf = (changes: Partial<OciConfigOptions> = {}): Config =>
  JSON.parse(JSON.stringify(ociConfig({ ...options, ...changes }))) as Config;

test("every namespace is the container's own, and its root is nobody outside", () => {
  const { linux } = configOf();
  assert.deepEqual(linux.namespaces.map((namespace) => namespace.type).toSorted(), [
    "cgroup",
    "ipc",
    "mount",
    "network",
    "pid",
    "user",
    "uts",
  ]);
  assert.ok(linux.namespaces.every((namespace) => namespace.path === undefined));
  const mapping = [{ containerID: 0, hostID: 1_000_000, size: 65_536 }];
  assert.deepEqual([linux.uidMappings, linux.gidMappings], [mapping, mapping]);
});

test("no capability reaches the machine, and none is there without being asked for", () => {
  const { capabilities, noNewPrivileges } = configOf().process;
  assert.equal(noNewPrivileges, false, "sudo has to work");
  assert.equal(capabilities["bounding"]?.length, 14);
  assert.deepEqual(capabilities["ambient"], []);
  assert.deepEqual(capabilities["inheritable"], []);
  const forbidden =
    /SYS_ADMIN|SYS_MODULE|SYS_PTRACE|SYS_RAWIO|SYS_TIME|NET_ADMIN|BPF|PERFMON|SYS_BOOT|DAC_READ/;
  for (const set of Object.values(capabilities)) assert.doesNotMatch(set.join(), forbidden);
});

test("limits arrive in the runtime's units; swap only where it can be limited", () => {
  const { resources, cgroupsPath } = configOf().linux;
  assert.equal(cgroupsPath, "/opensprites-1/7");
  assert.deepEqual(resources["cpu"], { quota: 150_000, period: 100_000 });
  assert.deepEqual(resources["memory"], { limit: 1024 ** 3, swap: 1024 ** 3 });
  assert.deepEqual(resources["pids"], { limit: 99 });
  const { resources: without } = configOf({ limitSwap: false }).linux;
  assert.deepEqual(without["memory"], { limit: 1024 ** 3 });
});

test("what is bound from the machine is read-only and brings no devices or set-uid programs", () => {
  const bound = configOf().mounts.filter((mount) => mount.type === "bind");
  assert.deepEqual(
    bound.map((mount) => mount.destination),
    ["/.sprite", "/.sprite/bin/busybox"],
  );
  for (const mount of bound) {
    for (const option of ["ro", "nosuid", "nodev"]) assert.ok(mount.options.includes(option));
  }
  assert.ok(bound[0]?.options.includes("rslave"), "checkpoints appear later");
});

test("the first process gets names as arguments, never as text of its script", () => {
  const hostname = "$(touch /pwned)'\"`";
  const args = initArguments({ ...options, hostname, nameserver: "10.0.0.1" });
  assert.equal(args.indexOf(hostname), 5);
  assert.ok(!args[3]?.includes("pwned"));
  assert.equal(args[6], resolverFile("10.0.0.1"));
});

test("a privileges policy decides about capabilities, devices and what a program may gain", () => {
  const minimal = configOf({
    privileges: privilegesOf({ profile: "minimal", devices: ["urandom"], noNewPrivileges: true }),
  });
  assert.equal(minimal.process.noNewPrivileges, true);
  assert.ok(!minimal.process.capabilities["bounding"]?.includes("CAP_NET_RAW"));
  assert.ok(minimal.linux.maskedPaths.includes("/dev/zero"));
  assert.ok(!minimal.linux.maskedPaths.some((path) => /^\/dev\/(null|urandom)$/.test(path)));
  const all = configOf({ privileges: privilegesOf({ profile: "privileged" }) });
  assert.ok(all.process.capabilities["bounding"]?.includes("CAP_SYS_PTRACE"));
  for (const closed of ["CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_SYS_MODULE", "CAP_BPF"]) {
    assert.ok(!all.process.capabilities["bounding"]?.includes(closed), closed);
  }
  assert.ok(!all.linux.maskedPaths.some((path) => path.startsWith("/dev/")));
});

test("a soft limit of memory is asked for where there is one, and taken back", () => {
  const limits = { ...options.limits, memorySoftBytes: 2 ** 28 };
  const memory = (changes: Partial<OciConfigOptions>): unknown =>
    (configOf(changes).linux.resources["memory"] as Record<string, unknown>)["reservation"];
  assert.equal(memory({ limits, hasSoftLimit: true }), 2 ** 28);
  assert.equal(memory({ hasSoftLimit: true }), -1);
  assert.equal(memory({ limits }), undefined);
});
