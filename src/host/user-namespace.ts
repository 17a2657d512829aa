/**
 * A user namespace that maps 0..65,535 to a range of host ids, held open for idmapped mounts. Used
 * by the host helper only.
 */
import { spawn } from "node:child_process";
import { closeSync, openSync, readlinkSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";

import { assert } from "../base/assert.ts";
import { hostIdsPerSprite, namespaceEnterMsMax, namespaceEnterPollMs } from "./limits.ts";

/**
 * Resolves with a descriptor of the namespace. A process is needed to make one, and gone when this
 * resolves.
 */
export async function openMappedUserNamespace(hostIdBase: number): Promise<number> {
  assert(
    Number.isInteger(hostIdBase) && hostIdBase >= hostIdsPerSprite,
    "a range above the host's own",
  );
  const own = readlinkSync("/proc/self/ns/user");
  // `cat` waits on its standard input, so that it also ends when this process does.
  const child = spawn("unshare", ["--user", "cat"], { stdio: ["pipe", "ignore", "ignore"] });
  const failed = once(child, "error").then(([error]) => {
    throw error;
  });
  failed.catch(() => {});
  try {
    const deadline = performance.now() + namespaceEnterMsMax;
    while (child.pid === undefined || readNamespace(child.pid) === own) {
      if (child.exitCode !== null) throw new Error("unshare --user refused to make a namespace");
      if (performance.now() > deadline) throw new Error("unshare --user takes too long");
      await Promise.race([failed, sleep(namespaceEnterPollMs)]);
    }
    const map = `0 ${hostIdBase} ${hostIdsPerSprite}\n`;
    writeFileSync(`/proc/${child.pid}/uid_map`, map);
    writeFileSync(`/proc/${child.pid}/gid_map`, map);
    return openSync(`/proc/${child.pid}/ns/user`, "r");
  } finally {
    child.stdin.destroy();
    child.kill("SIGKILL");
  }
}

export function closeUserNamespace(descriptor: number): void {
  closeSync(descriptor);
}

/** The namespace's name; the caller's own one when the process has not got so far. */
function readNamespace(pid: number): string {
  return readlinkSync(`/proc/${pid}/ns/user`);
}
