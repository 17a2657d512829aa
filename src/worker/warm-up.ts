import { join } from "node:path";
import type { Log } from "../base/log.ts";
import { nodeProcess } from "../base/node-process.ts";
import { plainEnvironment, runCommand } from "../host/command.ts";
import { commandTimeoutMs } from "./limits.ts";

/**
 * Runs an agent that has nothing to do, so that its code is compiled, and read from the disk,
 * before the first sprite is made. What the agent's threads and its helper run, the image server
 * has warmed.
 */
export async function warmUpAgent(log: Log): Promise<void> {
  const { file, args, environment } = nodeProcess(join(import.meta.dirname, "../agent/main.ts"));
  try {
    await runCommand(file, args, {
      deadlineMs: commandTimeoutMs,
      environment: { ...plainEnvironment, ...environment },
    });
  } catch (error) {
    // Sprites start without it, only slower; what is wrong shows with the first one.
    log.warn({ err: error }, "could not warm up an agent");
  }
}
