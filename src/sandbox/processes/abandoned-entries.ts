import { readdirSync, readFileSync } from "node:fs";

import { identifyProcess, signalProcess } from "../../base/process-identity.ts";

/**
 * Ends the runtime's processes by which an agent that died was just entering the container, or by
 * which a terminal waited for its use: some do not notice that nobody is there any more. Those of
 * the given numbers go on.
 */
export function endAbandonedEntries(runDirectory: string, slots: ReadonlySet<number>): void {
  for (const name of readdirSync("/proc")) {
    if (!/^[0-9]+$/.test(name)) continue;
    const identity = identifyProcess(Number(name));
    if (identity === null) continue;
    const slot = slotOf(identity.pid, runDirectory);
    if (slot !== null && !slots.has(slot)) signalProcess(identity, "SIGKILL");
  }
}

/** Which entry a process is; null for every other process, and one that has ended. */
function slotOf(pid: number, runDirectory: string): number | null {
  try {
    // Only the runtime itself: a shell around it has to see how it ends.
    const [program = "", ...args] = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
    if (program.endsWith("sh")) return null;
    const file = args.find((word) => word.startsWith(`${runDirectory}/`) && word.endsWith(".json"));
    const slot = /\/(?:zygote|spawner)-([0-9]+)\.json$/.exec(file ?? "")?.[1];
    return slot === undefined ? null : Number(slot);
  } catch {
    return null;
  }
}
