/**
 * The process that keeps one image mounted: FUSE over the chunk cache, loop device, erofs. Started
 * by ImageServers.
 */
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { must } from "../base/assert.ts";
import { openControlPipe } from "../base/control-pipe.ts";
import { endCrashed, watchForCrash } from "../base/crash.ts";
import { createLog, type LogLevel } from "../base/log.ts";
import { createDescriptorKeeper } from "../base/descriptor-keeper.ts";
import { keepCompiledCode } from "../base/node-process.ts";
import { fuseDescriptorKey } from "../contract/agent-startup.ts";
import { mountBackingFile } from "../host/block-mount.ts";
import { createHostHelper, type HostHelper } from "../host/host-helper.ts";
import { keepMountsUntilFilesClose } from "../host/own-mounts.ts";
import { openVolume } from "../storage/volume/open-volume.ts";
import type { ImageStartup } from "./image-startup.ts";
import { imageLingerMs } from "./limits.ts";

const pipe = openControlPipe<ImageStartup>();
const startup = await pipe.startup;
const log = createLog({ level: startup.logLevel as LogLevel, room: "image" });
watchForCrash(log);

try {
  const fuseDirectory = join(startup.runDirectory, "fuse");
  const mountDirectory = join(startup.runDirectory, "mnt");
  const helper = createHostHelper(log);
  const { takesOver } = startup;
  keepMountsUntilFilesClose();
  if (!takesOver) {
    await clearMounts(helper, [mountDirectory, fuseDirectory]);
    await mkdir(fuseDirectory, { recursive: true });
    await mkdir(mountDirectory, { recursive: true });
  }
  const volume = await openVolume({
    bucket: startup.bucket,
    prefix: `images/${startup.imageHash}`,
    cacheDirectory: startup.cacheDirectory,
    cacheSizeBytesMax: startup.cacheSizeBytesMax,
    sizeBytes: 0,
    readOnly: true,
    syncIntervalMs: 0,
  });
  void volume.died.then((error) => endCrashed(error, log));
  volume.onProblem((problem) => {
    if (problem !== null) log.error({ err: problem }, "the image cannot be read");
  });
  const passed = createDescriptorKeeper({ passed: startup.descriptors, say: pipe.say });
  const descriptor = must(passed.take(fuseDescriptorKey), "/dev/fuse is passed");
  await volume.mount(fuseDirectory, { descriptor, alreadyMounted: takesOver });
  if (!takesOver) {
    await mountBackingFile(helper, {
      backingFile: join(fuseDirectory, "live"),
      readOnly: true,
      target: mountDirectory,
      fileSystem: "erofs",
    });
  }
  const { adoptionSocket, orphanMsMax, version, descriptors: _, ...startedWith } = startup;
  await pipe.outlive({
    ...{ socketPath: adoptionSocket, orphanMsMax, version },
    startup: () => startedWith,
  });
  pipe.say({ type: "ready", socketPath: "", bootMs: Math.round(performance.now()) });
  keepCompiledCode();

  const command = await pipe.stop;
  // When the server was killed, its agents still end their containers: they read the image until then.
  if (!command.discard) await sleep(imageLingerMs);
  await helper.run({ type: "unmount", target: mountDirectory, lazy: true });
  await volume.close({ discard: true });
  await helper.close();
  process.exit(0);
} catch (error) {
  log.error({ err: error }, "the image cannot be served");
  const message = error instanceof Error ? error.message : String(error);
  pipe.say({ type: "failed", code: "start_failed", message: `serve the image: ${message}` });
  process.exit(1);
}

/**
 * What an image server that was killed left mounted here answers nothing but errors, also to those
 * who only look at it.
 */
async function clearMounts(helper: HostHelper, targets: readonly string[]): Promise<void> {
  const mounts = await readFile("/proc/self/mounts", "utf8");
  for (const target of targets) {
    const stale = mounts.split("\n").filter((line) => line.split(" ")[1] === target);
    for (const _ of stale) await helper.run({ type: "unmount", target, lazy: true });
  }
}
