import { stat } from "node:fs/promises";
import type { Cli } from "../cli.ts";
import { CliError } from "../errors.ts";
import { Progress } from "./progress.ts";
import { RemoteFiles } from "./remote-files.ts";
import { localError, uploadFile, uploadTree } from "./upload.ts";

/** Copies what a command needs into its sprite. */
export async function uploadForCommand(
  cli: Cli,
  given: readonly { source: string; dest: string }[],
): Promise<void> {
  const name = cli.spriteName();
  await cli.spin(`Copying to ${name}`, async (spinner) => {
    const progress = new Progress(spinner, `Copying to ${name}`);
    await cli.forSprite(name, async (path) => {
      const files = new RemoteFiles(cli.client, path);
      for (const { source, dest } of given) {
        const found = await stat(source).catch((cause: unknown) => {
          throw localError(cause, source);
        });
        const job = { source, dest, mode: found.mode & 0o777 };
        if (found.isDirectory()) await uploadTree(files, job, progress);
        else if (found.isFile()) await uploadFile(files, job, progress);
        else throw new CliError(`${source} is no file`, { code: "usage" });
      }
    });
  });
}
