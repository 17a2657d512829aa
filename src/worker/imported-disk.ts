import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { nodeProcess } from "../base/node-process.ts";
import { SpriteError } from "../contract/errors.ts";
import { runCommand } from "../host/command.ts";
import type { DiskCheckResult, DiskCheckStartup } from "./imported-disk-process.ts";
import { importedDiskCheckMsMax } from "./limits.ts";

/**
 * Looks at a volume that came from an archive, and so from anybody, before a kernel mounts it: what
 * e2fsck finds nothing wrong with is far less likely to harm one. A journal is replayed on the way.
 * @throws SpriteError invalid_request: it is not to be mounted; storage_failure: there is no telling
 */
export async function checkImportedDisk(options: {
  bucket: string;
  prefix: string;
  serverId: string;
  scratchDirectory: string;
}): Promise<void> {
  const { bucket, prefix, serverId, scratchDirectory } = options;
  const startup: DiskCheckStartup = {
    directory: scratchDirectory,
    volume: {
      ...{ bucket, prefix, server: serverId, readOnly: false, syncIntervalMs: 1_000 },
      cacheDirectory: join(scratchDirectory, "cache"),
      cacheSizeBytesMax: 2 ** 30,
      // It has one of its own.
      sizeBytes: 0,
    },
  };
  await rm(scratchDirectory, { recursive: true, force: true });
  await mkdir(scratchDirectory, { recursive: true, mode: 0o700 });
  try {
    const { problem } = await runCheck(startup);
    if (problem !== null) {
      throw new SpriteError("invalid_request", `the archive is refused: ${problem}`);
    }
  } finally {
    await rm(scratchDirectory, { recursive: true, force: true });
  }
}

async function runCheck(startup: DiskCheckStartup): Promise<DiskCheckResult> {
  const { file, args, environment } = nodeProcess(
    join(import.meta.dirname, "imported-disk-process.ts"),
  );
  const command = ["--mount", "--propagation", "private", "--", file, ...args];
  // The bucket's credentials are among them.
  const inherited = process.env as Record<string, string>;
  try {
    const { stdout } = await runCommand("unshare", command, {
      input: JSON.stringify(startup),
      deadlineMs: importedDiskCheckMsMax,
      environment: { ...inherited, ...environment },
    });
    return JSON.parse(stdout) as DiskCheckResult;
  } catch (cause) {
    throw new SpriteError("storage_failure", "check the imported disk", { cause });
  }
}
