import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { isAlive, signalProcess, type ProcessIdentity } from "../../src/base/process-identity.ts";
import { waitUntil } from "../../src/base/wait.ts";
import type { Places } from "../../src/worker/places.ts";

/** The agents and image servers of a server, as its run directory names them. */
export async function childrenOf(
  places: Places,
  kind: "sprite" | "image" | "any" = "any",
): Promise<ProcessIdentity[]> {
  const directory = join(places.runDirectory, "processes");
  const all = await readdir(directory).catch(() => []);
  const names = all.filter(
    (name) => name.endsWith(".json") && (kind === "any" || name.startsWith(`${kind}-`)),
  );
  const found = await Promise.all(names.map((name) => readIdentity(join(directory, name))));
  return found.filter((identity) => identity !== null);
}

/** Null for one that has gone meanwhile. One that is just being written is read again. */
async function readIdentity(file: string): Promise<ProcessIdentity | null> {
  let identity: ProcessIdentity | null = null;
  const isRead = async (): Promise<boolean> => {
    const text = await readFile(file, "utf8").catch(() => null);
    if (text === "") return false;
    identity = text === null ? null : (JSON.parse(text) as ProcessIdentity);
    return true;
  };
  await waitUntil(isRead, { timeoutMs: 1000 });
  return identity;
}

/** The processes that serve files for a server's agents (agent/files/helper). */
export async function fileHelpersOf(places: Places): Promise<number[]> {
  const agents = (await childrenOf(places, "sprite")).map(({ pid }) => pid);
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
  const areHelpers = pids.map(async (pid) => {
    const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
    const parent = Number(/PPid:\s+(\d+)/.exec(status)?.[1]);
    return command.includes("file-helper-process") && agents.includes(parent);
  });
  const found = await Promise.all(areHelpers);
  return pids.filter((_, index) => found[index]);
}

export function signalAll(identities: readonly ProcessIdentity[], signal: NodeJS.Signals): void {
  for (const identity of identities) signalProcess(identity, signal);
}

/** Kills exactly these and waits until they are gone. */
export async function killAll(identities: readonly ProcessIdentity[]): Promise<void> {
  signalAll(identities, "SIGKILL");
  const gone = await waitUntil(() => !identities.some(isAlive), { timeoutMs: 10_000 });
  if (!gone) throw new Error("a killed process is still there");
}
