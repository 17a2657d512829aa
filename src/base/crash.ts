/** How a process of ours ends that cannot go on: said in its log, and with an exit code that says so too. */
import type { Log } from "./log.ts";

const crashedExitCode = 70;

/** What nobody caught is a bug: it is logged like everything else before it ends the process. */
export function watchForCrash(log: Log): void {
  process.on("uncaughtException", (error) => endCrashed(error, log));
}

/** Ends the process at once. Whoever started it clears up, and starts another when one is needed. */
export function endCrashed(error: unknown, log: Log): never {
  log.fatal({ err: error }, "crashed");
  process.exit(crashedExitCode);
}
