import { CredentialSource } from "../s3/credentials.ts";
import type { S3Location } from "../s3/location.ts";
import { Retries } from "../s3/retries.ts";
import { readBody, S3Client } from "../s3/s3-client.ts";

/** The store itself never makes buckets. Making it again is fine. */
export async function createBucket(
  location: S3Location,
  environment: Readonly<Record<string, string>>,
): Promise<void> {
  const credentials = new CredentialSource(environment);
  const client = new S3Client({ location, credentials, now: Date.now });
  try {
    await new Retries().run(undefined, async () => {
      const reply = await client.send({ kind: "put", method: "PUT", key: "" }, undefined);
      await readBody(reply);
    });
    const query = [["list-type", "2"]] as const;
    await readBody(await client.send({ kind: "list", method: "GET", key: "", query }, undefined));
  } finally {
    client.close();
  }
}
