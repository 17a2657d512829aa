/** What an agent that died has left for the one that takes over, in the mount namespace they share. */
import { join } from "node:path";

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
