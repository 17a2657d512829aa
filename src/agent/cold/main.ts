/** The reader: shows the disk of a sprite that sleeps, for as long as its worker wants (contract/reader-startup.ts). */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";

import { openControlPipe } from "../../base/control-pipe.ts";
import { watchForCrash } from "../../base/crash.ts";
import { createLog, type LogLevel } from "../../base/log.ts";
import { keepCompiledCode } from "../../base/node-process.ts";
import { SpriteError } from "../../contract/errors.ts";
import type { ReaderStartup } from "../../contract/reader-startup.ts";
import { createHostHelper } from "../../host/host-helper.ts";
import { keepMountsUntilFilesClose } from "../../host/own-mounts.ts";
import { openVolume } from "../../storage/volume/open-volume.ts";
import { copyLocalMap } from "../../storage/volume/local-copy.ts";
import { ColdDisk } from "./cold-disk.ts";
import { createReader } from "./reader-server.ts";

const pipe = openControlPipe<ReaderStartup>();
const startup = await pipe.startup;
const log = createLog({ level: startup.logLevel as LogLevel, room: "reader" }).child({
  spriteId: startup.spriteId,
});
watchForCrash(log);

try {
  keepMountsUntilFilesClose();
  const { runDirectory, cacheDirectory, spriteCacheDirectory, spriteId, bucket } = startup;
  const helper = createHostHelper(log);
  helper.start();
  const prefix = `sprites/${spriteId}`;
  await copyLocalMap({ from: spriteCacheDirectory, to: cacheDirectory, prefix });
  const volume = await openVolume({
    ...{ bucket, prefix, cacheDirectory, cacheSizeBytesMax: startup.cacheSizeBytesMax },
    ...{ readOnly: true, sizeBytes: 0, syncIntervalMs: 0 },
    otherCacheDirectory: spriteCacheDirectory,
  });
  // There is nothing to be saved: whoever reads asks again, and the next reader answers.
  void volume.died.then(() => process.exit(1));
  // Users of the host pass through the run directory, as the sprite's root does; the sockets are not for them.
  const privateDirectory = join(runDirectory, "private");
  await mkdir(privateDirectory, { recursive: true, mode: 0o700 });
  const disk = new ColdDisk(startup, helper, volume);
  await disk.open();
  const reader = createReader({ startup, disk, helper, volume, privateDirectory, log });
  const socketPath = join(privateDirectory, "reader.sock");
  await reader.server.listen(socketPath);
  pipe.say({ type: "ready", socketPath, bootMs: Math.round(performance.now()) });
  keepCompiledCode();
  await pipe.stop;
  // From the top, since a thread that serves a mounted file system does not end.
  await reader.end();
  await disk.close();
  await helper.close();
  pipe.say({ type: "stopped", synced: true });
  process.exit(0);
} catch (error) {
  const isExpected = error instanceof SpriteError && error.code === "conflict";
  log[isExpected ? "info" : "error"]({ err: error }, "the sprite's disk cannot be shown");
  const message = error instanceof Error ? error.message : String(error);
  pipe.say({ type: "failed", code: "start_failed", message });
  process.exit(1);
}
