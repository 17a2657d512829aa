/** What an image server is told at its start, over the same control pipe as an agent. */
export interface ImageStartup {
  bucket: string;
  imageHash: string;
  cacheDirectory: string;
  cacheSizeBytesMax: number;
  /** On tmpfs: holds the FUSE mount point and `mnt`, where the image appears. */
  runDirectory: string;
  logLevel: string;
}
