/** What an agent that died has left for the one that takes over, in the mount namespace they share. */
import { join } from "node:path";

import { isAlive } from "../base/process-identity.ts";
import { waitUntil } from "../base/wait.ts";
import { SpriteError } from "../contract/errors.ts";
import { namespaceElders } from "../host/namespace-elders.ts";
import { elderPollMs, eldersMsMax } from "./limits.ts";
import { mountPoints } from "../host/mount-points.ts";

export interface Remains {
  /** The sprite's file system is mounted. */
  isDiskAttached: boolean;
  /** Checkpoints whose file systems are mounted, with whether the container sees them. */
  views: ReadonlyArray<{ id: string; isInside: boolean }>;
}

export function findRemains(places: { runDirectory: string; dotSpriteDirectory: string }): Remains {
  const mounted = new Set(mountPoints());
  const { runDirectory, dotSpriteDirectory } = places;
  const views = join(runDirectory, "views/");
  const ids = [...mounted]
    .filter((path) => path.startsWith(views))
    .map((path) => path.slice(views.length));
  return {
    isDiskAttached: mounted.has(join(runDirectory, "disk")),
    views: ids.map((id) => {
      return { id, isInside: mounted.has(join(dotSpriteDirectory, "checkpoints", id)) };
    }),
  };
}

/**
 * Waits for the children of the dead agent: its helper may be in the middle of a mount or an unmount,
 * its runtime in the middle of starting a container. The disk must be served already, since they may
 * wait for it. What entered the container, or is about to, is the launcher's affair.
 * @throws SpriteError start_failed: some are there still
 */
export async function waitForElders(runDirectory: string): Promise<void> {
  const entries = ["zygote-", "spawner-"].map((name) => join(runDirectory, name));
  const elders = namespaceElders().filter(
    ({ commandLine }) =>
      !commandLine.some((word) => entries.some((entry) => word.startsWith(entry))),
  );
  const gone = await waitUntil(() => !elders.some(({ identity }) => isAlive(identity)), {
    timeoutMs: eldersMsMax,
    intervalMs: elderPollMs,
  });
  if (gone) return;
  const names = elders.map(({ commandLine }) => commandLine.join(" ").slice(0, 100)).join("; ");
  throw new SpriteError("start_failed", `what the agent before began does not end: ${names}`);
}
