/** The reader's API: of the agent's endpoints those that need no more than the sprite's disk. */
import { join } from "node:path";

import type { Log } from "../../base/log.ts";
import type { ReaderStartup } from "../../contract/reader-startup.ts";
import type { HostHelper } from "../../host/host-helper.ts";
import type { Volume } from "../../storage/volume/volume.ts";
import type { Route } from "../api/route.ts";
import { createRouterServer, type RouterServer } from "../api/server.ts";
import { CheckpointDiffs } from "../checkpoint-diff/checkpoint-diffs.ts";
import { checkpointReadRoutes, findCheckpoint, type Checkpoints } from "../checkpoint-reads.ts";
import { fileReadRoutes } from "../files/file-routes.ts";
import { FileService } from "../files/file-service.ts";
import { ShownCheckpoints } from "../shown-checkpoints.ts";
import { SyncState } from "../sync-state.ts";
import type { ColdDisk } from "./cold-disk.ts";
import { coldServiceRoutes } from "./cold-services.ts";

export interface ReaderParts {
  startup: ReaderStartup;
  disk: ColdDisk;
  helper: HostHelper;
  volume: Volume;
  privateDirectory: string;
  log: Log;
}

export interface Reader {
  server: RouterServer;
  /** Breaks off whoever reads, and lets go of the disk. */
  end(): Promise<void>;
}

export function createReader(parts: ReaderParts): Reader {
  const { startup, disk, log } = parts;
  const { routes, files, diffs } = readerParts(parts);
  const { version } = startup;
  return {
    server: createRouterServer({ prefix: "public", version, routes, log }),
    end: async () => void (await Promise.all([files.end(disk), diffs.end(disk)])),
  };
}

/** Each route is one of the agent's: `control/cold-reads.ts` knows which. */
function readerParts(parts: ReaderParts): {
  routes: Route[];
  files: FileService;
  diffs: CheckpointDiffs;
} {
  const { startup, disk, helper, volume, privateDirectory, log } = parts;
  const { runDirectory, imageDirectory, hostIdBase, spriteCacheDirectory } = startup;
  const files = new FileService({
    ...{ socketPath: join(privateDirectory, "files.sock"), hostIdBase, log },
    enter: async () => disk,
  });
  const diffs = new CheckpointDiffs({
    ...{ helper, imageDirectory, runDirectory, liveDirectory: disk.directory, log },
    shown: new ShownCheckpoints({ volume, runDirectory }),
    enter: async () => disk,
  });
  const checkpoints: Checkpoints = {
    listCheckpoints: () => volume.listCheckpoints(),
    getCheckpoint: async (id) => findCheckpoint(await volume.listCheckpoints(), id),
  };
  const syncState = new SyncState({ volume, cacheDirectory: spriteCacheDirectory });
  const routes = [
    ...fileReadRoutes(files),
    ...checkpointReadRoutes({ checkpoints, syncState, diffs }),
    ...coldServiceRoutes(files),
  ];
  return { routes, files, diffs };
}
