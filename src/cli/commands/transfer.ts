import { createReadStream, createWriteStream } from "node:fs";
import { open, rename, rm } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { readArchivedName } from "../../contract/archive.ts";
import type { Sprite } from "../api-types.ts";
import { spritePath, type Cli } from "../cli.ts";
import { CliError } from "../errors.ts";
import { formatBytes, printable } from "../text.ts";

/** Writes the sprite into one file, which appears under its name when it is whole. */
export async function exportSprite(cli: Cli, args: readonly string[]): Promise<number> {
  const name = cli.spriteName(args[0]);
  const path = cli.options.output ?? `${name}.sprite`;
  const draft = `${path}.part`;
  try {
    const sizeBytes = await cli.spin(`Exporting ${name}`, async (spinner) => {
      const response = await cli.forSprite(name, (at) => cli.client.bytes("GET", `${at}/export`));
      let received = 0;
      response.on("data", (piece: Buffer) => {
        received += piece.length;
        spinner.text = `Exporting ${name}: ${formatBytes(received)}`;
      });
      await pipeline(response, createWriteStream(draft, { mode: 0o600, flush: true }));
      return received;
    });
    await rename(draft, path);
    if (cli.isJson) cli.printJson({ sprite: name, file: path, size_bytes: sizeBytes });
    else
      cli.print(`Exported ${printable(name)} to ${printable(path)}: ${formatBytes(sizeBytes)}\n`);
    return 0;
  } catch (cause) {
    await rm(draft, { force: true });
    if (cause instanceof CliError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    const message = `${name} was not exported: ${reason}`;
    throw new CliError(message, { code: "operation_failed", cause });
  }
}

/** Makes a sprite of a file; its name is the one it had, unless another is given. */
export async function importSprite(cli: Cli, args: readonly string[]): Promise<number> {
  const file = args[0] ?? "";
  const name = args[1] ?? cli.options.sprite ?? (await archivedName(file));
  const sprite = await cli.spin(`Importing ${name}`, () =>
    cli.client.upload<Sprite>("POST", `${spritePath(name)}/import`, createReadStream(file)),
  );
  if (cli.isJson) cli.printJson(sprite);
  else cli.print(`Imported ${printable(sprite.name)}\n`);
  return 0;
}

async function archivedName(path: string): Promise<string> {
  const start = Buffer.alloc(64 * 1024);
  let lengthBytes: number;
  try {
    await using file = await open(path);
    lengthBytes = (await file.read(start)).bytesRead;
  } catch (cause) {
    throw new CliError(`cannot read ${path}`, { code: "usage", cause });
  }
  const name = readArchivedName(start.subarray(0, lengthBytes));
  if (name !== null) return name;
  throw new CliError(`${path} is no sprite's archive`, { code: "usage" });
}
