/** Which cgroup hierarchies a machine has, and what they can limit. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** `hybrid`: the controllers are on version 1 and an empty version 2 stands beside them. */
export type CgroupMode = "v1" | "hybrid" | "v2" | "none";

export function cgroupMode(mounts = readFileSync("/proc/self/mounts", "utf8")): CgroupMode {
  const types = new Set(cgroupMounts(mounts).map((mount) => mount.type));
  if (types.has("cgroup")) return types.has("cgroup2") ? "hybrid" : "v1";
  return types.has("cgroup2") ? "v2" : "none";
}

/** True when a limit of swap can be asked for; where the kernel does not count it, asking fails. */
export function canLimitSwap(mounts = readFileSync("/proc/self/mounts", "utf8")): boolean {
  if (cgroupMode(mounts) === "v2") return existsSync("/proc/swaps");
  const memory = cgroupMounts(mounts).find((mount) => mount.options.includes("memory"));
  return memory !== undefined && existsSync(`${memory.directory}/memory.memsw.limit_in_bytes`);
}

/**
 * Memory of a cgroup that cannot be given back by writing it to a disk, in bytes; null when it cannot be read.
 * `path` is relative to the hierarchy's root.
 */
export function memoryInUse(
  path: string,
  mounts = readFileSync("/proc/self/mounts", "utf8"),
): number | null {
  const isUnified = cgroupMode(mounts) === "v2";
  const hierarchy = cgroupMounts(mounts).find(
    ({ type, options }) => isUnified || (type === "cgroup" && options.includes("memory")),
  );
  if (hierarchy === undefined) return null;
  try {
    const text = readFileSync(join(hierarchy.directory, path, "memory.stat"), "utf8");
    const value = (name: string): number =>
      Number(new RegExp(`^${name} (\\d+)$`, "m").exec(text)?.[1] ?? 0);
    return isUnified ? value("anon") + value("shmem") : value("total_rss") + value("total_shmem");
  } catch {
    return null;
  }
}

/**
 * Memory of a cgroup's processes without what the kernel can drop at once, which are pages of files that nobody has used of late, in bytes:
 * what the field calls the working set. Null when it cannot be read.
 */
export function workingSetBytes(path: string): number | null {
  try {
    const { directory, version } = cgroupMount("memory");
    const at = join(directory, path);
    const total = version === 1 ? "memory.usage_in_bytes" : "memory.current";
    const inactive = version === 1 ? "total_inactive_file" : "inactive_file";
    const bytes = Number(readFileSync(join(at, total), "utf8"));
    const stat = readFileSync(join(at, "memory.stat"), "utf8");
    const droppable = Number(new RegExp(`^${inactive} (\\d+)$`, "m").exec(stat)?.[1] ?? 0);
    return Math.max(0, bytes - droppable);
  } catch {
    // There is no container at the moment.
    return null;
  }
}

/** Where the hierarchies are mounted, the empty one included. */
export function cgroupDirectories(mounts = readFileSync("/proc/self/mounts", "utf8")): string[] {
  return cgroupMounts(mounts).map(({ directory }) => directory);
}

/** Where a controller's cgroups are, and of which version. */
export function cgroupMount(
  controller: "freezer" | "cpuacct" | "memory",
  mounts = readFileSync("/proc/self/mounts", "utf8"),
): { directory: string; version: 1 | 2 } {
  const isUnified = cgroupMode(mounts) === "v2";
  const found = cgroupMounts(mounts).find(
    ({ type, options }) => isUnified || (type === "cgroup" && options.includes(controller)),
  );
  return { directory: found?.directory ?? "/sys/fs/cgroup", version: isUnified ? 2 : 1 };
}

/**
 * Processor time that the cgroup's processes have used since it was made, ms; null when it cannot be read.
 * `path` is relative to the hierarchy's root.
 */
export function processorTimeMs(path: string): number | null {
  try {
    const { directory, version } = cgroupMount("cpuacct");
    const file = version === 1 ? "cpuacct.usage" : "cpu.stat";
    const text = readFileSync(`${directory}/${path}/${file}`, "utf8");
    if (version === 1) return Number(text) / 1e6;
    return Number(/^usage_usec (\d+)$/m.exec(text)?.[1] ?? Number.NaN) / 1e3;
  } catch {
    // There is no container at the moment.
    return null;
  }
}

function cgroupMounts(
  mounts: string,
): Array<{ type: string; directory: string; options: string[] }> {
  return mounts
    .split("\n")
    .map((line) => line.split(" "))
    .map(([, directory = "", type = "", options = ""]) => ({
      type,
      directory,
      options: options.split(","),
    }))
    .filter(({ type }) => type === "cgroup" || type === "cgroup2");
}
