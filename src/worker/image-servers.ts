import { join } from "node:path";
import type { Log } from "../base/log.ts";
import { ImageProcess } from "./image-process.ts";
import { imageCacheDirectory, type Places } from "./places.ts";

/**
 * Keeps each image that a running sprite needs mounted, once per machine, in the mount namespace
 * that agents inherit. A server that dies is replaced under its mount: who reads the image meanwhile
 * waits.
 */
export class ImageServers {
  readonly #options: {
    places: Places;
    bucket: string;
    cacheSizeBytesMax: number;
    logLevel: string;
    log: Log;
  };
  readonly #servers = new Map<string, ImageProcess>();

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
      // One that ends for good is forgotten, so that the next sprite starts another.
      void server.ended.then(() => this.#servers.delete(imageHash));
    }
    return await server.mounted;
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#servers.values()].map((server) => server.stop()));
  }

  #start(imageHash: string): ImageProcess {
    const { places, bucket, cacheSizeBytesMax, logLevel, log } = this.#options;
    return new ImageProcess({
      startup: {
        bucket,
        imageHash,
        cacheDirectory: imageCacheDirectory(places, imageHash),
        cacheSizeBytesMax,
        runDirectory: join(places.runDirectory, "images", imageHash.slice(0, 16)),
        logLevel,
      },
      identityFile: join(places.runDirectory, "processes", `image-${imageHash.slice(0, 16)}.json`),
      log,
    });
  }
}
