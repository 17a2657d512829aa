import { join } from "node:path";
import type { Log } from "../base/log.ts";
import type { ImageStartup } from "./image-startup.ts";
import { agentStartTimeoutMs, imageStopTimeoutMs } from "./limits.ts";
import { imageCacheDirectory, type Places } from "./places.ts";
import { SupervisedProcess } from "./supervised-process.ts";

interface ImageServer {
  process: SupervisedProcess;
  mounted: Promise<{ mountDirectory: string }>;
}

/**
 * Keeps each image that a running sprite needs mounted, once per machine, in the mount namespace
 * that agents inherit.
 */
export class ImageServers {
  readonly #options: {
    places: Places;
    bucket: string;
    cacheSizeBytesMax: number;
    logLevel: string;
    log: Log;
  };
  readonly #servers = new Map<string, ImageServer>();

  constructor(options: {
    places: Places;
    bucket: string;
    cacheSizeBytesMax: number;
    logLevel: string;
    log: Log;
  }) {
    this.#options = options;
  }

  /** @throws SpriteError start_failed when the image is not in the bucket or cannot be mounted */
  async ensure(imageHash: string): Promise<{ mountDirectory: string }> {
    let server = this.#servers.get(imageHash);
    if (server === undefined) {
      server = this.#start(imageHash);
      this.#servers.set(imageHash, server);
      // A server that ends is forgotten, so that the next sprite starts another.
      void server.process.exited.then(() => this.#servers.delete(imageHash));
    }
    return await server.mounted;
  }

  async stop(): Promise<void> {
    const servers = [...this.#servers.values()];
    await Promise.all(
      servers.map(({ process }) => process.stop({ discard: true, timeoutMs: imageStopTimeoutMs })),
    );
  }

  #start(imageHash: string): ImageServer {
    const { places, bucket, cacheSizeBytesMax, logLevel, log } = this.#options;
    const runDirectory = join(places.runDirectory, "images", imageHash.slice(0, 16));
    const startup: ImageStartup = {
      bucket,
      imageHash,
      cacheDirectory: imageCacheDirectory(places, imageHash),
      cacheSizeBytesMax,
      runDirectory,
      logLevel,
    };
    const process = new SupervisedProcess({
      modulePath: join(import.meta.dirname, "image-server.ts"),
      startup,
      identityFile: join(places.runDirectory, "processes", `image-${imageHash.slice(0, 16)}.json`),
      ownMountNamespace: false,
      startTimeoutMs: agentStartTimeoutMs,
      log,
    });
    const mountDirectory = join(runDirectory, "mnt");
    const mounted = process.ready().then(() => ({ mountDirectory }));
    mounted.catch(() => undefined);
    return { process, mounted };
  }
}
