import type { PassedDescriptor } from "../contract/agent-startup.ts";

/** What an image server is told at its start, over the same control pipe as an agent. */
export interface ImageStartup {
  bucket: string;
  imageHash: string;
  cacheDirectory: string;
  cacheSizeBytesMax: number;
  /** On tmpfs: holds the FUSE mount point and `mnt`, where the image appears. */
  runDirectory: string;
  logLevel: string;
  version: string;
  /** As for an agent. */
  adoptionSocket: string;
  orphanMsMax: number;
  /** As for an agent: /dev/fuse. */
  descriptors: readonly PassedDescriptor[];
  /** The image is mounted, and the server that served it has died. */
  takesOver: boolean;
}
