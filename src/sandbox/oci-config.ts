/** The container as the OCI runtime reads it: options in, `config.json` out. Pure. */
import type { SpriteLimits } from "../contract/agent-startup.ts";
import { hostIdsPerSprite } from "../host/limits.ts";
import { busyboxPath, initArguments, type InitFiles } from "./init-script.ts";
import { runFileSystemBytesMax, sharedMemoryBytesMax } from "./limits.ts";
import type { Privileges } from "./privileges.ts";
import type { SeccompProfile } from "./seccomp.ts";

export interface ResourceLimit {
  type: string;
  soft: number;
  hard: number;
}

export interface OciConfigOptions extends InitFiles {
  rootDirectory: string;
  dotSpriteDirectory: string;
  /** A statically linked BusyBox of the host. */
  busyboxFile: string;
  hostIdBase: number;
  limits: SpriteLimits;
  /** False where the kernel does not account for swap: asking for a limit would fail. */
  limitSwap: boolean;
  /** False with version 2 of the cgroups, where a reservation is the opposite of a limit. */
  hasSoftLimit: boolean;
  openFiles: { soft: number; hard: number };
  cgroupPath: string;
  seccomp: SeccompProfile;
  privileges: Privileges;
}

export interface OciMount {
  destination: string;
  type: string;
  source: string;
  options: readonly string[];
}

export interface OciConfig {
  ociVersion: string;
  process: Record<string, unknown>;
  root: { path: string; readonly: boolean };
  hostname: string;
  mounts: readonly OciMount[];
  linux: Record<string, unknown>;
}

/** Period of the processor quota: the kernel's default, in microseconds. */
const cpuPeriodUs = 100_000;

/** Kernel files that tell about the machine, its hardware or other tenants. */
const maskedPaths = [
  "/proc/acpi",
  "/proc/asound",
  "/proc/interrupts",
  "/proc/kcore",
  "/proc/keys",
  "/proc/key-users",
  "/proc/kmsg",
  "/proc/latency_stats",
  "/proc/sched_debug",
  "/proc/scsi",
  "/proc/slabinfo",
  "/proc/timer_list",
  "/proc/timer_stats",
  "/sys/devices/virtual/dmi",
  "/sys/devices/virtual/powercap",
  "/sys/firmware",
  "/sys/fs/selinux",
];

const readonlyPaths = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

export function ociConfig(options: OciConfigOptions): OciConfig {
  return {
    ociVersion: "1.0.2",
    process: firstProcess(options),
    root: { path: options.rootDirectory, readonly: false },
    hostname: options.hostname,
    mounts: mounts(options),
    linux: {
      namespaces: ["user", "pid", "mount", "uts", "ipc", "cgroup", "network"].map((type) => ({
        type,
      })),
      uidMappings: [{ containerID: 0, hostID: options.hostIdBase, size: hostIdsPerSprite }],
      gidMappings: [{ containerID: 0, hostID: options.hostIdBase, size: hostIdsPerSprite }],
      cgroupsPath: `/${options.cgroupPath.replace(/^\/+/, "")}`,
      resources: resources(options),
      sysctl: sysctls,
      seccomp: options.seccomp,
      maskedPaths: [
        ...maskedPaths,
        ...options.privileges.maskedDevices.map((name) => `/dev/${name}`),
      ],
      readonlyPaths,
      rootfsPropagation: "slave",
    },
  };
}

/**
 * The network namespace belongs to the container's user namespace, so that the runtime may set
 * these at start.
 */
const sysctls: Readonly<Record<string, string>> = {
  // Ports below 1024 are special on a machine with many users; this one has one.
  "net.ipv4.ip_unprivileged_port_start": "0",
  // `ping` needs neither a capability nor a set-uid bit. Only ids that exist inside may be named.
  "net.ipv4.ping_group_range": `0 ${hostIdsPerSprite - 1}`,
  "net.ipv6.conf.all.disable_ipv6": "1",
  "net.ipv6.conf.default.disable_ipv6": "1",
};

function firstProcess(options: OciConfigOptions): Record<string, unknown> {
  const capabilities = [...options.privileges.capabilities];
  return {
    terminal: false,
    user: { uid: 0, gid: 0 },
    cwd: "/",
    args: initArguments(options),
    env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
    // sudo has to work. What set-uid can gain is bounded by the user namespace and by the bounding set below.
    noNewPrivileges: options.privileges.noNewPrivileges,
    capabilities: {
      bounding: capabilities,
      effective: capabilities,
      permitted: capabilities,
      inheritable: [],
      ambient: [],
    },
    rlimits: resourceLimits(options.openFiles),
  };
}

/** Also for commands, which the runtime does not give the first process's limits. */
export function resourceLimits(openFiles: OciConfigOptions["openFiles"]): ResourceLimit[] {
  return [
    { type: "RLIMIT_NOFILE", soft: openFiles.soft, hard: openFiles.hard },
    { type: "RLIMIT_CORE", soft: 0, hard: 0 },
  ];
}

function mounts(options: OciConfigOptions): OciMount[] {
  return [
    mount("/proc", "proc", "proc", ["nosuid", "noexec", "nodev"]),
    mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
    mount("/dev/pts", "devpts", "devpts", [
      "nosuid",
      "noexec",
      "newinstance",
      "ptmxmode=0666",
      "mode=0620",
      "gid=5",
    ]),
    mount("/dev/shm", "tmpfs", "shm", [
      "nosuid",
      "noexec",
      "nodev",
      "mode=1777",
      `size=${sharedMemoryBytesMax}`,
    ]),
    mount("/dev/mqueue", "mqueue", "mqueue", ["nosuid", "noexec", "nodev"]),
    mount("/sys", "sysfs", "sysfs", ["nosuid", "noexec", "nodev", "ro"]),
    mount("/sys/fs/cgroup", "cgroup", "cgroup", ["nosuid", "noexec", "nodev", "relatime", "ro"]),
    // Process ids and locks of the last boot must not be found at the next one.
    mount("/run", "tmpfs", "tmpfs", [
      "nosuid",
      "nodev",
      "mode=755",
      `size=${runFileSystemBytesMax}`,
    ]),
    // Read-only and yet connectable: a socket's own mode decides. As a slave it receives the
    // checkpoints mounted later.
    mount("/.sprite", "bind", options.dotSpriteDirectory, [
      "rbind",
      "rslave",
      "ro",
      "nosuid",
      "nodev",
    ]),
    mount(busyboxPath, "bind", options.busyboxFile, ["bind", "ro", "nosuid", "nodev"]),
  ];
}

function mount(
  destination: string,
  type: string,
  source: string,
  options: readonly string[],
): OciMount {
  return { destination, type, source, options };
}

function resources(options: OciConfigOptions): Record<string, unknown> {
  return { devices: [{ allow: false, access: "rwm" }], ...limitedResources(options) };
}

/** What can change while the container runs. */
export function limitedResources(
  options: Pick<OciConfigOptions, "limits" | "limitSwap" | "hasSoftLimit">,
): Record<string, unknown> {
  const { memoryBytesMax, memorySoftBytes, cpuCoresMax, pidsMax } = options.limits;
  const unlimited = -1;
  return {
    memory: {
      limit: memoryBytesMax,
      // Memory and swap together: the same figure means no swap.
      ...(options.limitSwap ? { swap: memoryBytesMax } : {}),
      ...(options.hasSoftLimit ? { reservation: memorySoftBytes ?? unlimited } : {}),
    },
    cpu: { quota: Math.round(cpuCoresMax * cpuPeriodUs), period: cpuPeriodUs },
    pids: { limit: pidsMax },
  };
}
