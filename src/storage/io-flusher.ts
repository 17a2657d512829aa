/**
 * Marks a thread as one that others' writes to a disk wait for (prctl(2), PR_SET_IO_FLUSHER). The kernel
 * then neither makes it write out a guest's pages in order to get memory, nor slows it down because the
 * guest has many of them: both would have it wait for itself.
 */
import { readFileSync } from "node:fs";

/** linux/prctl.h */
const setIoFlusher = 57;
/** linux/capability.h: what the call asks for. */
const capabilitySysResource = 24n;

/** For the calling thread. Returns false where it is not allowed or the kernel does not know it. */
export async function becomeIoFlusher(): Promise<boolean> {
  const line = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/thread-self/status", "latin1"));
  const capabilities = BigInt(`0x${line?.[1] ?? "0"}`);
  // Asked first, since the library costs memory.
  if (((capabilities >> capabilitySysResource) & 1n) === 0n) return false;
  const { default: koffi } = await import("koffi");
  const prctl = koffi
    .load("libc.so.6")
    .func("int prctl(int option, ulong a, ulong b, ulong c, ulong d)") as (
    ...values: number[]
  ) => number;
  // EINVAL from a kernel before 5.6, EPERM from one that knows better: the disk works without.
  return prctl(setIoFlusher, 1, 0, 0, 0) === 0;
}
