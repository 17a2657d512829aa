/**
 * Gives memory that a burst of work has left free back to the machine. The C library keeps what is
 * not at the end of its heap: 100 MB of a command's output leave some 50 MB behind in an agent.
 */
import koffi from "koffi";

/** An idle process has nothing to give, and asking takes it less than a millisecond. */
const intervalMs = 10_000;

/** From now on, for all threads of the process: call it on the one with the least to do. */
export function trimMemoryRegularly(): void {
  const trim = koffi.load("libc.so.6").func("int malloc_trim(size_t)");
  setInterval(() => void trim(0), intervalMs).unref();
}
