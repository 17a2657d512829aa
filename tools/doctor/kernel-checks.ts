import { release } from "node:os";

import { cgroupMode, type CgroupMode } from "../../src/host/cgroups.ts";
import { fail, ok, warn, type Finding } from "./finding.ts";
import { exists, probe, readText } from "./probe.ts";
import { compareVersions, parseVersion } from "./version.ts";

/** Overlay file systems accept idmapped layers from here on, which gives each sprite host ids of its own. */
const kernelFloor = "5.19";

export async function checkKernel(): Promise<Finding[]> {
  return [
    checkUser(),
    checkKernelVersion(release()),
    ...(await checkFileSystems()),
    await checkLoop(),
    await checkUserNamespaces(),
    await checkCgroups(),
    await checkNetwork(),
  ];
}

function checkUser(): Finding {
  if (process.getuid?.() === 0) return ok("user", "root");
  return warn(
    "user",
    "not root, so some checks below could not look",
    "run as root: sudo make doctor",
  );
}

export function checkKernelVersion(text: string): Finding {
  const version = parseVersion(text);
  const floor = parseVersion(kernelFloor);
  if (version !== null && floor !== null && compareVersions(version, floor) >= 0)
    return ok("kernel", text);
  return fail(
    "kernel",
    text,
    `boot a kernel of ${kernelFloor} or newer: Debian 12, Ubuntu 24.04 and later have one`,
  );
}

async function checkFileSystems(): Promise<Finding[]> {
  const known = (await readText("/proc/filesystems")) ?? "";
  const findings = await Promise.all(
    ["fuse", "overlay", "erofs", "ext4"].map(async (name) => {
      if (new RegExp(`\\b${name}$`, "m").test(known)) return ok(name, "in the kernel");
      const module = await probe(["modprobe", "--dry-run", name]);
      if (module.works) return ok(name, "a module, loaded when needed");
      return fail(
        name,
        "the kernel does not have it",
        `install the kernel's extra modules, or run: modprobe ${name}`,
      );
    }),
  );
  if (!(await exists("/dev/fuse"))) {
    findings.push(
      fail(
        "/dev/fuse",
        "missing",
        "run: modprobe fuse (in a container: start it with --device /dev/fuse)",
      ),
    );
  }
  return findings;
}

async function checkLoop(): Promise<Finding> {
  if (await exists("/dev/loop-control")) return ok("loop devices", "/dev/loop-control");
  const module = await probe(["modprobe", "--dry-run", "loop"]);
  if (module.works) return ok("loop devices", "a module, loaded when needed");
  return fail(
    "loop devices",
    "no /dev/loop-control",
    "run: modprobe loop (a container without it cannot run sprites)",
  );
}

async function checkUserNamespaces(): Promise<Finding> {
  const namesMax = Number((await readText("/proc/sys/user/max_user_namespaces")) ?? "0");
  const advice = "run: sysctl -w user.max_user_namespaces=15000, and keep it in /etc/sysctl.d";
  if (namesMax === 0) return fail("user namespaces", "switched off", advice);
  const works = (await probe(["unshare", "--user", "--map-root-user", "true"])).works;
  if (works) return ok("user namespaces", `up to ${namesMax}`);
  const isRestricted =
    (await readText("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"))?.trim() === "1";
  if (isRestricted && process.getuid?.() !== 0) {
    return ok("user namespaces", "for root only (AppArmor), which is enough");
  }
  return fail("user namespaces", "unshare --user fails", advice);
}

export interface CgroupFacts {
  /** Controllers of the v2 hierarchy mounted at /sys/fs/cgroup, or null if that is not cgroup v2. */
  unified: readonly string[] | null;
  /** Controllers mounted as v1 hierarchies. */
  legacy: readonly string[];
  mode: CgroupMode;
}

const neededControllers = ["memory", "cpu", "pids"] as const;

async function checkCgroups(): Promise<Finding> {
  const unified = await readText("/sys/fs/cgroup/cgroup.controllers");
  const mounts = (await readText("/proc/self/mounts")) ?? "";
  const legacy = mounts
    .split("\n")
    .filter((line) => line.split(" ")[2] === "cgroup")
    .flatMap((line) => (line.split(" ")[3] ?? "").split(","));
  return judgeCgroups({
    unified: unified?.trim().split(" ") ?? null,
    legacy,
    mode: cgroupMode(mounts),
  });
}

export function judgeCgroups(facts: CgroupFacts): Finding {
  const available = facts.unified ?? facts.legacy;
  const missing = neededControllers.filter((name) => !available.includes(name));
  const { mode } = facts;
  if (mode === "none") {
    return fail("cgroups", "not mounted", "mount them: mount -t cgroup2 none /sys/fs/cgroup");
  }
  if (missing.length === 0)
    return ok("cgroups", `${mode}, limits for ${neededControllers.join(", ")} hold`);
  return warn(
    "cgroups",
    `${mode}, without ${missing.join(", ")}`,
    `sprites run without these limits; enable the controllers at boot (cgroup_enable=${missing.join(",")})`,
  );
}

/** What a sprite's network is made of, tried in a network namespace that vanishes with the probe. */
async function checkNetwork(): Promise<Finding> {
  const rules = `add table inet probe
    add chain inet probe post { type nat hook postrouting priority 100; }
    add rule inet probe post masquerade`;
  const script = "ip link add probe0 type veth peer name probe1 && nft -f -";
  const result = await probe(["unshare", "--net", "sh", "-c", script], rules);
  if (result.works) return ok("network", "veth pairs and nftables masquerading work");
  if (process.getuid?.() !== 0)
    return warn("network", "not tried, needs root", "run: sudo make doctor");
  const reason = result.output.split("\n")[0] ?? "";
  return fail(
    "network",
    reason,
    "run: modprobe -a veth nf_tables nft_masq nft_chain_nat (or: SPRITES_UPLINK=none)",
  );
}
