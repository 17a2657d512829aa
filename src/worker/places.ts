import { realpathSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";

import { shortHash } from "../base/short-hash.ts";

/**
 * Where a server keeps things; all derived from its data directory, so that the next server finds
 * what a dead one left.
 */
export interface Places {
  /**
   * First 8 hex digits of the data directory's hash: names run directory, cgroups, interfaces,
   * firewall table.
   */
  serverHash: string;
  dataDirectory: string;
  cacheDirectory: string;
  runDirectory: string;
  runtimeRoot: string;
  /** Relative to the hierarchy's root. */
  cgroupParent: string;
}

export function placesOf(dataDirectory: string): Places {
  const absolute = realPath(resolve(dataDirectory));
  const serverHash = shortHash(absolute, 8);
  const runDirectory = join("/run/opensprites", serverHash);
  return {
    serverHash,
    dataDirectory: absolute,
    cacheDirectory: join(absolute, "cache"),
    runDirectory,
    runtimeRoot: join(runDirectory, "runtime"),
    cgroupParent: `/opensprites-${serverHash}`,
  };
}

/** One directory has one place, by whatever links it is named; it need not exist yet. */
function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path === dirname(path) ? path : join(realPath(dirname(path)), basename(path));
  }
}

/** Short and unique on this machine: the path of a Unix socket may hold 107 bytes. */
function shortSpriteId(spriteId: string): string {
  return shortHash(spriteId, 12);
}

export function spriteRunDirectory(places: Places, spriteId: string): string {
  return join(places.runDirectory, "sprites", shortSpriteId(spriteId));
}

export function spriteCacheDirectory(places: Places, spriteId: string): string {
  return join(places.cacheDirectory, "sprites", spriteId);
}

/** Of a reader of a sprite that sleeps; each has one of its own. */
export function readerRunDirectory(places: Places, spriteId: string, number: number): string {
  return join(places.runDirectory, "readers", `${shortSpriteId(spriteId)}-${number}`);
}

export function readerCacheDirectory(places: Places, spriteId: string, number: number): string {
  return join(places.cacheDirectory, "readers", `${spriteId}-${number}`);
}

export function imageCacheDirectory(places: Places, imageHash: string): string {
  return join(places.cacheDirectory, "images", imageHash);
}

export function imageRunDirectory(places: Places, imageHash: string): string {
  return join(places.runDirectory, "images", imageHash.slice(0, 16));
}

/** Of the records of a server's children, and the sockets at which they wait for the next server. */
export function processesDirectory(places: Places): string {
  return join(places.runDirectory, "processes");
}

/** What sprites have used, which outlives their caches. */
export function usageDirectory(places: Places): string {
  return join(places.dataDirectory, "usage");
}

/** Of one sprite. */
export function usageFile(places: Places, spriteId: string): string {
  return join(usageDirectory(places), `${spriteId}.json`);
}

export function networkDirectory(places: Places): string {
  return join(places.runDirectory, "network");
}
