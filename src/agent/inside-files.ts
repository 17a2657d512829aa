import { mkdir, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { errorCode } from "../base/error-code.ts";
import { envCliFiles } from "../env-cli/files.ts";

/**
 * Fills the directory that appears as `/.sprite` inside; all of it is read-only there (contract.md
 * section 10.4).
 */
export async function writeInsideFiles(directory: string, version: string): Promise<void> {
  const files = [
    ...envCliFiles(),
    { path: "version.txt", mode: 0o444, content: Buffer.from(`${version}\n`) },
  ];
  for (const { path, mode, content } of files) {
    const target = join(directory, path);
    await mkdir(dirname(target), { recursive: true });
    await writeFile(target, content, { mode });
  }
  // The logs are on the sprite's disk, where the services write them themselves.
  await symlink("/var/log/sprite", join(directory, "logs")).catch((error: unknown) => {
    if (errorCode(error) !== "EEXIST") throw error;
  });
}
