import { fileURLToPath } from "node:url";
import { SpriteError } from "../../contract/errors.ts";
import { DirectoryObjectStore } from "./directory-object-store.ts";
import type { ObjectStore } from "./object-store.ts";

/**
 * Opens the store that a `--bucket` setting names: a directory's path or its `file://` URL.
 * @throws SpriteError invalid_request for anything else
 */
export async function openObjectStore(url: string): Promise<ObjectStore> {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(url)?.[1]?.toLowerCase();
  if (url === "") throw new SpriteError("invalid_request", "the bucket's path is empty");
  if (scheme === undefined) return DirectoryObjectStore.open(url);
  if (scheme === "file") return DirectoryObjectStore.open(pathOf(url));
  const hint = "name a directory, or a file:// URL; buckets in S3 come with a later version";
  throw new SpriteError("invalid_request", `bucket ${scheme}:// is not supported: ${hint}`);
}

function pathOf(url: string): string {
  try {
    return fileURLToPath(url);
  } catch (error) {
    throw new SpriteError("invalid_request", `bucket ${url} is not a local file URL`, {
      cause: error,
    });
  }
}
