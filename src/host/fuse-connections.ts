/**
 * FUSE connections as the kernel numbers them, in whatever mount namespace they are mounted. One of
 * which no mount is seen any more, but that still has requests, hangs whoever waits for it, and
 * `sync` of the whole machine.
 */
import { readdir, readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { runCommand } from "./command.ts";
import { hangLookIntervalMs, hangLooks, operationDeadlineMs } from "./limits.ts";

export interface FuseConnection {
  /** Also the minor device number of its mounts. */
  number: number;
  /** Requests that were not answered yet. */
  waiting: number;
}

/** In a mount namespace of its own, since the machine need not have fusectl mounted, and need not get it from us. */
const prologue = "mount -t fusectl none /sys/fs/fuse/connections 2>/dev/null || :";

const listScript = `${prologue}
  cd /sys/fs/fuse/connections && for c in *; do [ -r "$c/waiting" ] && echo "$c $(cat "$c/waiting")"; done; :`;

const abortScript = `${prologue}
  for c; do echo 1 >"/sys/fs/fuse/connections/$c/abort" || :; done 2>/dev/null`;

export async function listFuseConnections(): Promise<FuseConnection[]> {
  const { stdout } = await runApart(listScript, []);
  return [...stdout.matchAll(/^(\d+) (\d+)$/gm)].map(([, number, waiting]) => ({
    number: Number(number),
    waiting: Number(waiting),
  }));
}

/** Every request on them fails, now and from then on. Those that are gone already are no error. */
export async function abortFuseConnections(numbers: readonly number[]): Promise<void> {
  if (numbers.length > 0) await runApart(abortScript, numbers.map(String));
}

async function runApart(script: string, args: readonly string[]): Promise<{ stdout: string }> {
  const command = ["--mount", "sh", "-c", script, "sh", ...args];
  return await runCommand("unshare", command, { deadlineMs: operationDeadlineMs });
}

/** The connections of the FUSE mounts that a process sees, by mount point; none of one that has ended. */
export async function fuseMountsOf(pid: number | "self"): Promise<Map<string, number>> {
  const text = await readFile(`/proc/${pid}/mountinfo`, "utf8").catch(() => "");
  const lines = text.matchAll(/^\d+ \d+ 0:(\d+) \S+ (\S+) .* - fuse(?:blk|\.\S+)? /gm);
  return new Map([...lines].map(([, number, mountPoint]) => [mountPoint ?? "", Number(number)]));
}

/**
 * Those of the given connections that nobody serves any more: no process sees a mount of them, and their requests stay
 * unanswered, at one look after the other. The kernel gives numbers of connections out again at once, perhaps to somebody in
 * another pid namespace, whom we cannot see; but their requests get answers, and one without requests hangs nobody.
 */
export async function hangingFuseConnections(
  numbers: ReadonlySet<number>,
): Promise<FuseConnection[]> {
  let hanging = await unseenAndWaiting(numbers);
  for (let look = 1; look < hangLooks && hanging.length > 0; look++) {
    await delay(hangLookIntervalMs);
    hanging = await unseenAndWaiting(new Set(hanging.map(({ number }) => number)));
  }
  return hanging;
}

async function unseenAndWaiting(numbers: ReadonlySet<number>): Promise<FuseConnection[]> {
  if (numbers.size === 0) return [];
  const waiting = (await listFuseConnections()).filter(
    (connection) => numbers.has(connection.number) && connection.waiting > 0,
  );
  if (waiting.length === 0) return [];
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
  const seen = new Set<number>();
  for (const pid of pids) {
    for (const number of (await fuseMountsOf(pid)).values()) seen.add(number);
  }
  return waiting.filter(({ number }) => !seen.has(number));
}
