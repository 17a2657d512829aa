/** The object store of the rows about a bucket: one real S3 server behind a proxy that makes it as far away as a row wants. */
import { setTimeout as sleep } from "node:timers/promises";
import { parseS3Url } from "../src/storage/object-store/s3/location.ts";
import { startSlowProxy, type SlowProxy } from "../src/storage/object-store/testing/slow-proxy.ts";
import { makeTestBucket } from "../src/testing/radosgw.ts";
import { say, type Cleanup } from "./cleanup.ts";

/** What a store in another city takes for each request. */
export const farMs = 20;

/** Longer than a second of coalescing and the storing of what it gave. */
const quietMs = 2_000;
const quietTimeoutMs = 20_000;

export class BenchStore {
  /** `s3://...`, through the proxy; region and endpoint included. */
  readonly url: string;
  readonly bucket: string;
  readonly accessKey: string;
  readonly secretKey: string;
  readonly proxy: SlowProxy;

  private constructor(options: {
    url: string;
    environment: Readonly<Record<string, string>>;
    proxy: SlowProxy;
  }) {
    const { url, environment, proxy } = options;
    this.url = url;
    this.bucket = parseS3Url(url, {}).bucket;
    this.accessKey = environment["AWS_ACCESS_KEY_ID"] ?? "";
    this.secretKey = environment["AWS_SECRET_ACCESS_KEY"] ?? "";
    this.proxy = proxy;
  }

  /** The servers end with this process. Its credentials become those of whatever is started from now on. */
  static async start(cleanup: Cleanup): Promise<BenchStore> {
    say("starting the S3 server");
    const { url, endpoint, environment } = await makeTestBucket();
    const proxy = await startSlowProxy({ endpoint, roundTripMs: 0 });
    cleanup.add("stop the proxy", () => proxy.stop());
    Object.assign(process.env, environment);
    return new BenchStore({ url: url.replace(endpoint, proxy.endpoint), environment, proxy });
  }

  /** Waits until nothing is sent any more: what somebody stores in the background is there. Gives up after a bound. */
  async untilQuiet(): Promise<void> {
    const deadlineMs = performance.now() + quietTimeoutMs;
    for (let last = -1; last !== this.proxy.sentBytes && performance.now() < deadlineMs;) {
      last = this.proxy.sentBytes;
      await sleep(quietMs);
    }
  }
}
