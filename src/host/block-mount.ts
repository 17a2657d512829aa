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
  { directIo = true, ...mounted }: BlockMountOptions,
): Promise<void> {
  const { backingFile, readOnly, target, fileSystem, data, beforeMount } = mounted;
  const options = data === undefined ? [] : [data];
  // A disk that came as an archive may ask for a panic of this machine at its first error (ext4(5), errors=).
  if (fileSystem === "ext4") options.push("errors=remount-ro");
  const device = await helper.attachLoop({ backingFile, readOnly, directIo });
  try {
    await beforeMount?.(device);
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
      ...(options.length === 0 ? {} : { data: options.join(",") }),
    });
  } finally {
    // With a mount, the device now lives as long as it; without one, it goes at once.
    await helper.releaseLoop(device);
  }
}
