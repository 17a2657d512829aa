import { fileURLToPath } from "node:url";
import { SpriteError } from "../../contract/errors.ts";
import { DirectoryObjectStore } from "./directory-object-store.ts";
import type { ObjectStore } from "./object-store.ts";

/**
 * Opens the store that a `--bucket` setting names: a directory's path or its `file://` URL, or a bucket
 * as `s3://<bucket>/<prefix>?endpoint=...` (s3/location.ts). Nothing is asked of a bucket yet: probeObjectStore does that.
 *
 * @param environment where AWS_... variables come from
 * @throws SpriteError invalid_request for anything else
 */
export async function openObjectStore(
  url: string,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): Promise<ObjectStore> {
  const scheme = schemeOf(url);
  if (url === "") throw new SpriteError("invalid_request", "the bucket's path is empty");
  if (scheme === null) return DirectoryObjectStore.open(url);
  if (scheme === "file") return DirectoryObjectStore.open(pathOf(url));
  if (scheme === "s3") return openBucket(url, environment);
  const hint = "name a directory, a file:// URL, or s3://<bucket>/<prefix>";
  throw new SpriteError("invalid_request", `bucket ${scheme}:// is not supported: ${hint}`);
}

/** Null for a plain path, which is relative to the working directory. */
export function schemeOf(url: string): string | null {
  return /^([a-z][a-z0-9+.-]*):\/\//i.exec(url)?.[1]?.toLowerCase() ?? null;
}

/** Loaded on demand: a directory needs neither TLS nor signatures. */
async function openBucket(
  url: string,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<ObjectStore> {
  const [{ S3ObjectStore }, { parseS3Url }, { CredentialSource }] = await Promise.all([
    import("./s3/s3-object-store.ts"),
    import("./s3/location.ts"),
    import("./s3/credentials.ts"),
  ]);
  const location = parseS3Url(url, environment);
  return new S3ObjectStore({ location, credentials: new CredentialSource(environment) });
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
