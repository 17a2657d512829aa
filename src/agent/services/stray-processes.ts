import type { Launcher } from "../../sandbox/process.ts";
import { guestScript, runInGuest } from "./guest-command.ts";
import { strayPidsBytesMax } from "./limits.ts";

/** Every process of a service inherits it. */
export const markerVariable = "SPRITE_SERVICE";

/** Nothing is found where no process is left to look. A guest may have hidden its /proc. */
const findProgram = `grep -lzxF "$1" /proc/[0-9]*/environ 2>&-`;

/**
 * Processes that carry a service's mark in their environment: a daemon in a session of its own, whose
 * parents have ended, is known by nothing else. The looking is done inside, as the sprite's user: what
 * is behind a process's memory may be a disk that does not answer.
 */
export async function strayProcesses(
  launcher: Pick<Launcher, "launch">,
  name: string,
): Promise<number[]> {
  const command = guestScript(findProgram, [`${markerVariable}=${name}`]);
  const { stdout } = await runInGuest(launcher, command, { outputBytesMax: strayPidsBytesMax });
  const lines = stdout.toString("latin1").matchAll(/^\/proc\/([0-9]{1,10})\/environ$/gm);
  return [...lines].map(([, pid]) => Number(pid));
}
