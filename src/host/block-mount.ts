/** Mounts the file system inside a file, through a loop device that ends with the mount. */
import type { HostHelper, MountFlag } from "./host-helper.ts";

export interface BlockMountOptions {
  backingFile: string;
  readOnly: boolean;
  target: string;
  fileSystem: "ext4" | "erofs";
  /** File-system options in mount(8)'s form. */
  data?: string;
  /** False where the backing file does not offer direct I/O, as on tmpfs. */
  directIo?: boolean;
  /**
   * Runs once the device is there and before it is mounted: makes the file system where there is
   * none yet.
   */
  beforeMount?: (device: string) => Promise<void>;
}

/** @throws HostError; then the device is gone again */
export async function mountBackingFile(
  helper: HostHelper,
  options: BlockMountOptions,
): Promise<void> {
  const { backingFile, readOnly, target, fileSystem, data } = options;
  const directIo = options.directIo ?? true;
  const device = await helper.attachLoop({ backingFile, readOnly, directIo });
  try {
    await options.beforeMount?.(device);
    // Files on a guest's disk carry the guest's own ids: a set-uid file of the guest's root would
    // be one of the host's. Neither that nor devices nor programs work through this mount; the
    // overlay above it has flags of its own.
    const flags: MountFlag[] = ["no_access_time", "no_device", "no_suid", "no_execute"];
    if (readOnly) flags.push("read_only");
    await helper.run({
      type: "mount",
      source: device,
      target,
      fileSystem,
      flags,
      ...(data === undefined ? {} : { data }),
    });
  } finally {
    // With a mount, the device now lives as long as it; without one, it goes at once.
    await helper.releaseLoop(device);
  }
}
