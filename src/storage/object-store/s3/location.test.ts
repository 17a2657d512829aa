import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseS3Url } from "./location.ts";

describe("parseS3Url", () => {
  it("is AWS with the bucket in the host's name, unless told otherwise", () => {
    const found = parseS3Url("s3://my-bucket/a/b/", { AWS_REGION: "eu-central-1" });
    assert.deepEqual(found, {
      bucket: "my-bucket",
      prefix: "a/b/",
      protocol: "https:",
      hostname: "my-bucket.s3.eu-central-1.amazonaws.com",
      port: 443,
      host: "my-bucket.s3.eu-central-1.amazonaws.com",
      basePath: "",
      region: "eu-central-1",
      isEtagQuoted: null,
    });
    const dotted = parseS3Url("s3://my.bucket", {});
    assert.equal(dotted.hostname, "s3.us-east-1.amazonaws.com");
    assert.equal(dotted.basePath, "/my.bucket");
    assert.equal(dotted.prefix, "");
  });

  it("takes an endpoint from the URL before the environment, in path style", () => {
    const environment = {
      AWS_ENDPOINT_URL: "https://one",
      AWS_ENDPOINT_URL_S3: "https://two:9000",
    };
    assert.equal(parseS3Url("s3://abc", environment).host, "two:9000");
    const url = "s3://abc/x?endpoint=http://127.0.0.1:7480/base&region=auto&etags=unquoted";
    const found = parseS3Url(url, environment);
    assert.equal(found.host, "127.0.0.1:7480");
    assert.equal(found.basePath, "/base/abc");
    assert.equal(found.protocol, "http:");
    assert.equal(found.region, "auto");
    assert.equal(found.isEtagQuoted, false);
    const virtual = parseS3Url(
      "s3://abc?endpoint=https://fly.storage.tigris.dev&style=virtual",
      {},
    );
    assert.equal(virtual.host, "abc.fly.storage.tigris.dev");
    assert.equal(virtual.basePath, "");
    assert.equal(parseS3Url("s3://abc?endpoint=http://[::1]:80", {}).hostname, "::1");
  });

  it("refuses what it does not understand, without repeating it", () => {
    const wrong = [
      ...["s3://", "s3://UP_per", "s3://ab", "s3://abc:80", "s3://id:secret@abc"],
      ...["s3://abc?colour=red", "s3://abc?style=oval", "s3://abc?etags=1", "s3://abc/#x"],
      ...["s3://abc?endpoint=ftp://x", "s3://abc?endpoint=nonsense", "s3://abc/a//b"],
      "s3://abc?endpoint=http://id:secret@host",
    ];
    for (const url of wrong) {
      assert.throws(
        () => parseS3Url(url, {}),
        (error: Error & { code?: string }) => {
          assert.equal(error.code, "invalid_request", url);
          assert.doesNotMatch(error.message, /secret/);
          return true;
        },
        url,
      );
    }
  });
});
