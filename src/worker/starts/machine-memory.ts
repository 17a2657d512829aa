import { readFile } from "node:fs/promises";

/** `freeBytes`: what programs could get without swapping. */
export async function readMachineMemory(): Promise<{ freeBytes: number; totalBytes: number }> {
  const text = await readFile("/proc/meminfo", "utf8");
  const bytes = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(text)?.[1] ?? Number.NaN) * 1024;
  return { freeBytes: bytes("MemAvailable"), totalBytes: bytes("MemTotal") };
}
