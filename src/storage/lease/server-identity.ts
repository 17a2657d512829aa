/** `<data>/server.json`: who this server is to others that use the same bucket. */
import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { SpriteError } from "../../contract/errors.ts";
import { replaceFile } from "../local-files.ts";

/** Made when it is missing, for good. @throws SpriteError storage_failure: the file is damaged */
export async function serverIdentity(dataDirectory: string): Promise<string> {
  const path = join(dataDirectory, "server.json");
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return null;
    throw error;
  });
  if (text !== null) return parse(text, path);
  const id = randomBytes(8).toString("hex");
  await replaceFile(path, `${JSON.stringify({ formatVersion: 1, id })}\n`);
  return id;
}

function parse(text: string, path: string): string {
  let id: unknown;
  try {
    id = (JSON.parse(text) as { id?: unknown }).id;
  } catch {
    id = undefined;
  }
  if (typeof id === "string" && /^[0-9a-z-]{1,64}$/.test(id)) return id;
  throw new SpriteError("storage_failure", `${path} does not say which server this is`);
}

/** Tells this machine from others, as far as it has an id at all. */
export async function machineIdentity(): Promise<string> {
  const id = await readFile("/etc/machine-id", "utf8").catch(() => "");
  return `${hostname()}/${id.trim()}`;
}
