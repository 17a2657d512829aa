/** A copy of a descriptor that another process has open, whatever it is: also of a pseudo-terminal's master. */
import { closeSync } from "node:fs";
import { createRequire } from "node:module";

import type Koffi from "koffi";

const load = createRequire(import.meta.url);

/** pidfd_open(2), since Linux 5.3, and pidfd_getfd(2), since 5.6: the same numbers on every architecture. */
const callNumbers = { openProcess: 434, copyDescriptor: 438 };

type SystemCall = (...args: readonly number[]) => unknown;
let systemCall: SystemCall | null = null;

/** Loaded at the first use: the library costs its process some megabytes. */
function call(...args: readonly number[]): number {
  if (systemCall === null) {
    const { load: loadLibrary } = load("koffi") as typeof Koffi;
    systemCall = loadLibrary("libc.so.6").func("syscall", "long", [
      "long",
      "int",
      "int",
      "unsigned int",
    ]) as SystemCall;
  }
  return Number(systemCall(...args));
}

/**
 * Null when there is no such process or descriptor, or the kernel does not allow it. The copy is
 * closed when this process executes another program.
 */
export function copyDescriptor(pid: number, descriptor: number): number | null {
  const target = call(callNumbers.openProcess, pid, 0, 0);
  if (target < 0) return null;
  try {
    const copy = call(callNumbers.copyDescriptor, target, descriptor, 0);
    return copy < 0 ? null : copy;
  } finally {
    closeSync(target);
  }
}
