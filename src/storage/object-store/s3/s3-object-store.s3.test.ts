import assert from "node:assert/strict";
import { hash, randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { before, describe, it, type TestContext } from "node:test";
import { inspect } from "node:util";
import * as fc from "fast-check";
import { makeTestBucket, type TestBucket } from "../../../testing/radosgw.ts";
import type { ObjectStore } from "../object-store.ts";
import { openObjectStore } from "../open-object-store.ts";
import { probeObjectStore } from "../probe.ts";
import { testObjectStore } from "../testing/object-store-conformance.ts";
import { runAgainstModel, storeCalls } from "../testing/object-store-model.ts";
import { CredentialSource } from "./credentials.ts";
import { parseS3Url } from "./location.ts";
import { S3Client } from "./s3-client.ts";

let bucket: TestBucket;
let prefixCount = 0;

/** Each test gets a prefix of its own in the file's bucket. */
async function openEmpty(_test: TestContext, settings = ""): Promise<ObjectStore> {
  const url = bucket.url.replace("?", `/p${prefixCount++}?`) + settings;
  return openObjectStore(url, bucket.environment);
}

before(
  async () => {
    bucket = await makeTestBucket();
  },
  { timeout: 120_000 },
);

testObjectStore("S3 (Ceph radosgw)", openEmpty);

describe("S3 object store against Ceph radosgw", () => {
  it("knows how the store wants its tags, told or not", async (test) => {
    for (const settings of ["", "&etags=unquoted"]) {
      const store = await openEmpty(test, settings);
      const first = await store.swap("head", Buffer.from("1"), { etag: null });
      assert.ok(first);
      const second = await store.swap("head", Buffer.from("2"), first);
      assert.ok(second, settings);
      assert.ok(await store.swap("head", Buffer.from("3"), second));
      assert.equal(await store.swap("head", Buffer.from("4"), second), null);
    }
  });

  it("is found fit, and without its form of tags unfit", async (test) => {
    await probeObjectStore(await openEmpty(test));
    await assert.rejects(probeObjectStore(await openEmpty(test, "&etags=quoted")), {
      code: "bucket_unfit",
      message: /\?etags=/,
    });
  });

  it("lists more than a page, and deletes all of it", async (test) => {
    const store = await openEmpty(test);
    const keys = Array.from(
      { length: 1_203 },
      (_, index) => `many/${String(index).padStart(5, "0")}`,
    );
    const left = [...keys];
    const put = async (): Promise<void> => {
      for (let key = left.pop(); key !== undefined; key = left.pop())
        await store.put(key, Buffer.from("x"));
    };
    await Promise.all(Array.from({ length: 16 }, put));
    const seen: string[] = [];
    for await (const { key } of store.list("many/")) seen.push(key);
    assert.deepEqual(seen, keys);
    assert.equal(store.statistics().requests.list, 2);
    await store.deletePrefix("many/");
    for await (const { key } of store.list("")) assert.fail(`${key} is still there`);
  });

  it("streams a file of 12 MiB and reads parts of it", async (test) => {
    const store = await openEmpty(test);
    const directory = await mkdtemp(join(tmpdir(), "s3-file-"));
    test.after(() => rm(directory, { recursive: true, force: true }));
    const bytes = randomBytes(12 * 1024 * 1024);
    await writeFile(join(directory, "segment"), bytes);
    await store.putFile("data/3f/x", join(directory, "segment"));
    assert.ok(bytes.equals((await store.get("data/3f/x")) ?? Buffer.alloc(0)));
    const part = (await store.getRange("data/3f/x", 5_000_001, 70_000)) ?? Buffer.alloc(0);
    assert.ok(bytes.subarray(5_000_001, 5_070_001).equals(part));
  });

  it("answers random calls as a map would", { timeout: 60_000 }, async (test) => {
    const property = fc.asyncProperty(storeCalls, async (calls) =>
      runAgainstModel(await openEmpty(test), calls),
    );
    await fc.assert(property, { numRuns: 60, interruptAfterTimeLimit: 10_000 });
  });

  it("has a body refused that is not the one whose hash was signed", async () => {
    const client = new S3Client({
      location: parseS3Url(bucket.url, {}),
      credentials: new CredentialSource(bucket.environment),
      now: Date.now,
    });
    const request = { kind: "put", method: "PUT", key: "damaged" } as const;
    const bodySha256 = hash("sha256", "as it was sent");
    const put = client.send(
      { ...request, body: Buffer.from("as it arrived?"), bodySha256 },
      undefined,
    );
    await assert.rejects(put, {
      name: "AttemptError",
      isRetryable: true,
      message: /SHA256Mismatch/,
    });
    client.close();
    const store = await openObjectStore(bucket.url, bucket.environment);
    assert.equal(await store.get("damaged"), null);
  });

  it("says what is wrong with a key or a bucket, and never the secret", async () => {
    const secret = "wrong-and-secret";
    const environment = { ...bucket.environment, AWS_SECRET_ACCESS_KEY: secret };
    const refused = await openObjectStore(bucket.url, environment);
    await assert.rejects(refused.get("a"), (error: Error) => {
      assert.match(error.message, /SignatureDoesNotMatch/);
      assert.ok(!inspect(error, { depth: 9, showHidden: true }).includes(secret));
      return true;
    });
    const nowhere = await openObjectStore(
      bucket.url.replace(/s3:..[^?]*/, "s3://no-such-bucket"),
      bucket.environment,
    );
    await assert.rejects(nowhere.get("a"), { code: "storage_failure", message: /NoSuchBucket/ });
  });
});
