/** A record of the container's first process, for an agent that takes over from one that died. */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { isAlive, type ProcessIdentity } from "../base/process-identity.ts";
import type { PrivilegesPolicy } from "../contract/policy.ts";
import { adoptedPollMs } from "./limits.ts";

/**
 * Written once the container runs, and removed before it is taken down: with it the container is
 * whole, without it nobody knows how far it got.
 */
export class FirstProcessRecord {
  readonly #file: string;

  constructor(bundleDirectory: string) {
    this.#file = join(bundleDirectory, "first-process.json");
  }

  write(identity: ProcessIdentity, privileges: PrivilegesPolicy): void {
    writeFileSync(this.#file, JSON.stringify({ ...identity, privileges }));
  }

  /** What the container was started with. */
  readPrivileges(): PrivilegesPolicy {
    const { privileges } = JSON.parse(readFileSync(this.#file, "utf8")) as {
      privileges?: PrivilegesPolicy;
    };
    return privileges ?? {};
  }

  /** Null when no whole container runs. */
  read(): ProcessIdentity | null {
    try {
      const { privileges: _, ...identity } = JSON.parse(
        readFileSync(this.#file, "utf8"),
      ) as ProcessIdentity & { privileges: unknown };
      return isAlive(identity) ? identity : null;
    } catch {
      return null;
    }
  }

  remove(): void {
    rmSync(this.#file, { force: true });
  }
}

/** Settles when a process is gone whose output we do not hold. `stop` ends the watch. */
export function watchProcess(identity: ProcessIdentity): { ended: Promise<void>; stop(): void } {
  const ended = Promise.withResolvers<void>();
  const timer = setInterval(() => {
    if (isAlive(identity)) return;
    clearInterval(timer);
    ended.resolve();
  }, adoptedPollMs);
  return { ended: ended.promise, stop: () => clearInterval(timer) };
}
