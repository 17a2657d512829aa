/**
 * What a worker tells a *reader*, the process that shows the disk of a sprite which sleeps (agent/cold/). It speaks the
 * control pipe's protocol, as an agent does (agent-startup.ts).
 */
export interface ReaderStartup {
  spriteId: string;
  bucket: string;
  /** The sprite's own local state, which belongs to its agent: it is looked at, and nothing is written there. */
  spriteCacheDirectory: string;
  /** The reader's own, removed when it ends. */
  cacheDirectory: string;
  cacheSizeBytesMax: number;
  /** Sockets and mount points; on tmpfs. */
  runDirectory: string;
  /** Where the sprite's image is mounted, read-only, in the mount namespace that the reader inherits. */
  imageDirectory: string;
  /** First host uid and gid of the range of 65,536 that stands for the sprite's. */
  hostIdBase: number;
  version: string;
  logLevel: string;
}
