import { processToJoin } from "../worker/survivors.ts";
import { placesOf } from "../worker/places.ts";
import type { ServeOptions } from "./options.ts";

/** Set in a process that has done it: what it finds then it would find again. */
const joinedVariable = "OPENSPRITES_HAS_JOINED";

/**
 * What has outlived the server before is mounted in that server's namespace, and images there are served to agents
 * that will be started by this one. No process with threads can enter another mount namespace: this one becomes a
 * program that enters it and becomes this program again.
 */
export async function joinSurvivors(
  options: Pick<ServeOptions, "data" | "orphanMsMax">,
): Promise<void> {
  const hasJoined = process.env[joinedVariable] !== undefined;
  delete process.env[joinedVariable];
  if (hasJoined || options.orphanMsMax === null) return;
  const pid = await processToJoin(placesOf(options.data));
  if (pid === null) return;
  const here = process.cwd();
  const again = ["sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", here];
  const own = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  process.execve?.(
    "/usr/bin/nsenter",
    ["nsenter", `--mount=/proc/${pid}/ns/mnt`, "--", ...again, ...own],
    { ...process.env, [joinedVariable]: "yes" },
  );
}
