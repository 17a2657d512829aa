import { join } from "node:path";
import type { Log } from "../base/log.ts";
import type { AdoptedChild } from "./adopted-child.ts";
import { adoptionSocketOf } from "./child-records.ts";
import { ImageProcess } from "./image-process.ts";
import { imageOrphanExtraMs } from "./limits.ts";
import { imageCacheDirectory, imageRunDirectory, type Places } from "./places.ts";

export interface ImageServersOptions {
  places: Places;
  bucket: string;
  cacheSizeBytesMax: number;
  /** How long a sprite goes on without a server. */
  orphanMsMax: number;
  version: string;
  logLevel: string;
  log: Log;
}

/**
 * Keeps each image that a running sprite needs mounted, once per machine, in the mount namespace
 * that agents inherit. A server that dies is replaced under its mount: who reads the image meanwhile
 * waits.
 */
export class ImageServers {
  readonly #options: ImageServersOptions;
  readonly #servers = new Map<string, ImageProcess>();

  /** @param survivors those that the server before has left, by the image's hash */
  constructor(
    options: ImageServersOptions,
    survivors: ReadonlyMap<string, AdoptedChild> = new Map(),
  ) {
    this.#options = options;
    for (const [imageHash, child] of survivors) this.#begin(imageHash, child);
  }

  /** @throws SpriteError start_failed when the image is not in the bucket or cannot be mounted */
  async ensure(imageHash: string): Promise<{ mountDirectory: string }> {
    const server = this.#servers.get(imageHash) ?? this.#begin(imageHash);
    return await server.mounted;
  }

  /** False when it is to be mounted anew by the next sprite that needs it. */
  isMounted(imageHash: string): boolean {
    return this.#servers.has(imageHash);
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#servers.values()].map((server) => server.stop()));
  }

  #begin(imageHash: string, adopted?: AdoptedChild): ImageProcess {
    const server = this.#start(imageHash, adopted);
    this.#servers.set(imageHash, server);
    // One that ends for good is forgotten, so that the next sprite starts another.
    void server.ended.then(() => this.#servers.delete(imageHash));
    return server;
  }

  #start(imageHash: string, adopted: AdoptedChild | undefined): ImageProcess {
    const { places, bucket, cacheSizeBytesMax, orphanMsMax, version, logLevel, log } =
      this.#options;
    const name = `image-${imageHash.slice(0, 16)}.json`;
    const identityFile = join(places.runDirectory, "processes", name);
    return new ImageProcess({
      startup: {
        bucket,
        imageHash,
        cacheDirectory: imageCacheDirectory(places, imageHash),
        cacheSizeBytesMax,
        runDirectory: imageRunDirectory(places, imageHash),
        adoptionSocket: adoptionSocketOf(identityFile),
        orphanMsMax: orphanMsMax + imageOrphanExtraMs,
        version,
        logLevel,
      },
      adopted,
      identityFile,
      log,
    });
  }
}
