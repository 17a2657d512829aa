/** What a sprite may use: the server's limits under its resources policy. */
import type { SpriteLimits } from "./agent-startup.ts";
import type { ResourcesPolicy } from "./policy.ts";

/**
 * The smaller of each two: a policy may be older than the server's limits, or come with an archive
 * from a larger machine.
 */
export function limitsUnderPolicy(limits: SpriteLimits, policy: ResourcesPolicy): SpriteLimits {
  const { memory, cpu, pids } = policy;
  const memoryBytes = (memory?.limit_mb ?? Infinity) * 2 ** 20;
  const isSoft = memory?.autoscale === true && memoryBytes < limits.memoryBytesMax;
  return {
    memoryBytesMax: isSoft ? limits.memoryBytesMax : Math.min(limits.memoryBytesMax, memoryBytes),
    ...(isSoft ? { memorySoftBytes: memoryBytes } : {}),
    cpuCoresMax: Math.min(limits.cpuCoresMax, cpu?.limit_cores ?? Infinity),
    pidsMax: Math.min(limits.pidsMax, pids?.limit ?? Infinity),
  };
}
