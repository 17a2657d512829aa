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

/** Where the hierarchies are mounted, the empty one included. */
export function cgroupDirectories(mounts = readFileSync("/proc/self/mounts", "utf8")): string[] {
  return cgroupMounts(mounts).map(({ directory }) => directory);
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
