import { mkdir, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { ensureImage } from "../../images/build.ts";
import type { Log } from "../base/log.ts";
import { createControl } from "../control/control.ts";
import { createHostHelper } from "../host/host-helper.ts";
import { chooseRuntime } from "../host/runtime.ts";
import { createGateway } from "../sandbox/gateway.ts";
import { openObjectStore } from "../storage/object-store/open-object-store.ts";
import { importImage } from "../storage/volume/image.ts";
import { limitsOf, type ServeOptions } from "./options.ts";
import { version } from "./version.ts";
import { ImageServers } from "../worker/image-servers.ts";
import { clearCgroups, clearLeftovers } from "../worker/leftovers.ts";
import { diskSizeBytesDefault } from "../worker/limits.ts";
import { LocalWorker } from "../worker/local-worker.ts";
import { imageCacheDirectory, networkDirectory, placesOf } from "../worker/places.ts";
import { takeServerLock } from "../worker/server-lock.ts";
import { Slots } from "../worker/slots.ts";

export interface Server {
  address: string;
  stop(): Promise<void>;
}

/** Starts everything in order; `stop` undoes it in reverse. @throws whatever keeps the server from serving */
export async function startServer(options: ServeOptions, log: Log): Promise<Server> {
  const undo: Array<() => Promise<void>> = [];
  const stop = async (): Promise<void> => {
    for (const step of undo.splice(0).reverse()) {
      try {
        await step();
      } catch (error) {
        // The other steps still run: each one gives back something of its own.
        log.error({ err: error }, "a step of the stop failed");
      }
    }
  };
  try {
    return { address: await start(options, log, undo), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function start(
  options: ServeOptions,
  log: Log,
  undo: Array<() => Promise<void>>,
): Promise<string> {
  const places = placesOf(options.data);
  const bucket =
    options.bucket === null ? join(places.dataDirectory, "bucket") : resolve(options.bucket);
  await mkdir(places.dataDirectory, { recursive: true, mode: 0o700 });
  const lock = await takeServerLock(places.runDirectory);
  undo.push(lock.release);

  const runtime = await chooseRuntime(options.runtime);
  await clearLeftovers(places, runtime, log);
  await mkdir(places.runDirectory, { recursive: true, mode: 0o711 });
  undo.push(async () => {
    await clearCgroups(places);
    await rm(places.runDirectory, { recursive: true, force: true });
  });

  const store = await openObjectStore(bucket);
  const { path } = await ensureImage(options.image, { log });
  const imageHash = await importImage({
    bucket,
    file: path,
    cacheDirectory: (hash) => imageCacheDirectory(places, hash),
  });
  const helper = createHostHelper(log);
  undo.push(() => helper.close());
  const gateway = await createGateway(
    {
      directory: networkDirectory(places),
      serverHash: places.serverHash,
      uplink: options.uplink,
      helper,
    },
    log,
  );
  undo.push(() => gateway.close());

  const common = {
    places,
    bucket,
    cacheSizeBytesMax: options.cacheSizeBytesMax,
    logLevel: options.logLevel,
    log,
  };
  const images = new ImageServers(common);
  undo.push(() => images.stop());
  // Mounted before the first sprite asks, so that a create does not wait for it.
  await images.ensure(imageHash);

  const worker = new LocalWorker({
    ...common,
    store,
    images,
    defaultImageHash: imageHash,
    slots: new Slots(places.serverHash),
    networkOf: (slot) => gateway.networkOf(slot),
    limits: limitsOf(options),
    runtime,
    diskSizeBytes: diskSizeBytesDefault,
    version,
  });
  undo.push(() => worker.drain());

  const control = createControl({
    dataDirectory: places.dataDirectory,
    worker,
    listen: options.listen,
    version,
    urlDomain: options.urlDomain,
    log,
  });
  undo.push(() => control.stop());
  await control.recover();
  const { address } = await control.start();
  return address;
}
