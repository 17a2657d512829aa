/** A small ext4 disk on a loop device, for tests that need a guest's disk and not our storage. */
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { mountBackingFile } from "../host/block-mount.ts";
import { formatExt4 } from "../host/ext4.ts";
import type { HostHelper } from "../host/host-helper.ts";

export interface TinyDisk {
  /** The backing file. */
  file: string;
  device: string;
  /** Where it is mounted. */
  directory: string;
  /** Also when somebody else has unmounted it. */
  dispose(): Promise<void>;
}

export async function makeTinyDisk(
  helper: HostHelper,
  options: { sizeBytes?: number } = {},
): Promise<TinyDisk> {
  const work = mkdtempSync(join(tmpdir(), "tiny-disk-"));
  const file = join(work, "disk");
  const directory = join(work, "mnt");
  mkdirSync(directory);
  writeFileSync(file, "");
  truncateSync(file, options.sizeBytes ?? 512 * 1024 * 1024);
  let device = "";
  await mountBackingFile(helper, {
    backingFile: file,
    readOnly: false,
    target: directory,
    fileSystem: "ext4",
    data: "discard",
    beforeMount: async (path) => {
      device = path;
      await formatExt4(path, { label: "tiny" });
    },
  });
  return {
    file,
    device,
    directory,
    dispose: async () => {
      await helper.run({ type: "unmount", target: directory }).catch(() => {});
      rmSync(work, { recursive: true });
    },
  };
}
