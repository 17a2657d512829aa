/**
 * Loop devices through ioctls: attached in one step, and gone by themselves when nobody uses them
 * any more.
 */
import { closeSync, existsSync, openSync } from "node:fs";

import { loopAttachAttemptsMax } from "./limits.ts";
import { ioctl, ioctlWithBuffer, makeBlockDevice, SystemCallError } from "./system-calls.ts";

const getFreeDevice = 0x4c82;
const configure = 0x4c0a;
const loopMajor = 7;

const readOnlyFlag = 1;
const autoClearFlag = 4;
const directIoFlag = 16;

/** The guest's disk has 4 KiB sectors all the way down, so that no write becomes a read and a write. */
const blockSizeBytes = 4096;

/** struct loop_config: u32 fd, u32 block_size, struct loop_info64 (232 bytes), u64 reserved[8]. */
const configSizeBytes = 304;
const configInfoOffset = 8;
const infoFlagsOffset = 52;
const infoNameOffset = 56;
const infoNameBytesMax = 63;

export interface AttachedLoop {
  device: string;
  /** Keeps the device from clearing itself until something else, such as a mount, uses it. */
  descriptor: number;
}

export function attachLoop(options: {
  backingFile: string;
  readOnly: boolean;
  directIo: boolean;
}): AttachedLoop {
  const control = openSync("/dev/loop-control", "r+");
  const backing = openSync(options.backingFile, options.readOnly ? "r" : "r+");
  try {
    for (let attempt = 1; ; attempt++) {
      const attached = attachFree(control, backing, options);
      if (attached !== null) return attached;
      if (attempt === loopAttachAttemptsMax) {
        throw new SystemCallError("LOOP_CONFIGURE", "EBUSY", "lost every race for a free device");
      }
    }
  } finally {
    closeSync(backing);
    closeSync(control);
  }
}

export function releaseLoop(loop: AttachedLoop): void {
  closeSync(loop.descriptor);
}

/** Null when somebody else took the free device first. */
function attachFree(
  control: number,
  backing: number,
  options: { backingFile: string; readOnly: boolean; directIo: boolean },
): AttachedLoop | null {
  const index = ioctl(control, getFreeDevice, 0, "LOOP_CTL_GET_FREE");
  const device = `/dev/loop${index}`;
  // Where /dev is not the kernel's own file system (in a container), nodes are missing.
  if (!existsSync(device)) makeBlockDevice(device, loopMajor, index);
  const descriptor = openSync(device, options.readOnly ? "r" : "r+");
  try {
    ioctlWithBuffer(descriptor, configure, loopConfig(backing, options), "LOOP_CONFIGURE");
    return { device, descriptor };
  } catch (error) {
    closeSync(descriptor);
    if (error instanceof SystemCallError && error.errno === "EBUSY") return null;
    throw error;
  }
}

function loopConfig(
  backing: number,
  options: { backingFile: string; readOnly: boolean; directIo: boolean },
): Buffer {
  const config = Buffer.alloc(configSizeBytes);
  config.writeUInt32LE(backing, 0);
  config.writeUInt32LE(blockSizeBytes, 4);
  let flags = autoClearFlag;
  if (options.readOnly) flags |= readOnlyFlag;
  if (options.directIo) flags |= directIoFlag;
  config.writeUInt32LE(flags, configInfoOffset + infoFlagsOffset);
  const name = Buffer.from(options.backingFile).subarray(0, infoNameBytesMax);
  name.copy(config, configInfoOffset + infoNameOffset);
  return config;
}
