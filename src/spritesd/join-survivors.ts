import { processToJoin } from "../worker/survivors.ts";
import { placesOf } from "../worker/places.ts";
import type { ServeOptions } from "./options.ts";

/** Set in a process that has done it: what it finds then it would find again. */
const joinedVariable = "OPENSPRITES_HAS_JOINED";

/** One that has ended just now leaves nothing to join: then the start goes on here. */
const script = `namespace=$1; here=$2; shift 2
if nsenter --mount="$namespace" -- true 2>/dev/null; then
  exec nsenter --mount="$namespace" -- sh -c 'cd "$1" && shift && exec "$@"' sh "$here" "$@"
fi
exec "$@"`;

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
  const own = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
  const environment = { ...process.env, [joinedVariable]: "yes" };
  const words = ["sh", "-c", script, "sh", `/proc/${pid}/ns/mnt`, process.cwd(), ...own];
  process.execve?.("/bin/sh", words, environment);
}
