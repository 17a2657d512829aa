import { createHash, hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { assert } from "../../../base/assert.ts";
import { SpriteError } from "../../../contract/errors.ts";
import { withinDeadline } from "../call-scope.ts";
import {
  callDeadlineMsDefault,
  copyBufferSizeBytes,
  deleteBatchMax,
  putSizeBytesMax,
} from "../limits.ts";
import { checkKey, checkPrefix, isObjectKey } from "../object-key.ts";
import type {
  CallOptions,
  ListedObject,
  ListOptions,
  ObjectStore,
  ObjectStoreStatistics,
  RangeOptions,
  TaggedObject,
} from "../object-store.ts";
import { storeError } from "../store-error.ts";
import { ConditionalWrites, etagOf } from "./conditional-writes.ts";
import type { CredentialSource } from "./credentials.ts";
import { Hedge } from "./hedge.ts";
import type { Body, Reply } from "./http-exchange.ts";
import type { S3Location } from "./location.ts";
import { AttemptError, Retries, type Sleep } from "./retries.ts";
import { readBody, S3Client } from "./s3-client.ts";
import { deleteRequestBody, parseDeleteResult, parseListPage, type ListPage } from "./xml.ts";

export interface S3Options {
  location: S3Location;
  credentials: CredentialSource;
  /** Wall clock, in ms: signatures carry the time. */
  now?: () => number;
  random?: () => number;
  sleep?: Sleep;
  idleMsMax?: number;
}

/**
 * Objects in a bucket that speaks S3: AWS, R2, MinIO, Ceph RGW, Tigris. docs/object-stores.md has what they do differently.
 *
 * A request is retried while that can help and its call's deadline allows; reads that take unusually long are sent a second time.
 * The SHA-256 of every body is part of its signature; what is read must be as long as the server says.
 */
export class S3ObjectStore implements ObjectStore {
  readonly #client: S3Client;
  readonly #retries: Retries;
  readonly #hedge = new Hedge();
  readonly #writes: ConditionalWrites;
  readonly #prefix: string;
  #readBytes = 0;
  #writtenBytes = 0;

  constructor({ location, credentials, now = Date.now, random, sleep, idleMsMax }: S3Options) {
    this.#client = new S3Client({
      location,
      credentials,
      now,
      ...(idleMsMax !== undefined && { idleMsMax }),
    });
    this.#retries = new Retries({ ...(random && { random }), ...(sleep && { sleep }) });
    this.#prefix = location.prefix;
    this.#writes = new ConditionalWrites({
      client: this.#client,
      retries: this.#retries,
      isEtagQuoted: location.isEtagQuoted,
    });
  }

  async get(key: string, options: CallOptions = {}): Promise<Uint8Array | null> {
    return (await this.#read(key, options))?.bytes ?? null;
  }

  async getRange(
    key: string,
    offsetBytes: number,
    lengthBytes: number,
    options: RangeOptions = {},
  ): Promise<Uint8Array | null> {
    assert(offsetBytes >= 0 && lengthBytes > 0, "range is not empty");
    const range = { offsetBytes, lengthBytes, into: options.into };
    return (await this.#read(key, options, range))?.bytes ?? null;
  }

  async getWithEtag(key: string, options: CallOptions = {}): Promise<TaggedObject | null> {
    return this.#read(key, options);
  }

  async put(key: string, bytes: Uint8Array, options: CallOptions = {}): Promise<void> {
    checkKey(key);
    await this.#call(`put object ${key}`, options, (signal) =>
      this.#retries.run(signal, async () => {
        const request = {
          kind: "put",
          method: "PUT",
          key: this.#prefix + key,
          body: bytes,
        } as const;
        await readBody(await this.#client.send(request, signal));
      }),
    );
    this.#writtenBytes += bytes.length;
  }

  async putIfAbsent(key: string, bytes: Uint8Array, options: CallOptions = {}): Promise<boolean> {
    checkKey(key);
    return (await this.#writeIf(key, bytes, { etag: null }, options)) !== null;
  }

  async swap(
    key: string,
    bytes: Uint8Array,
    expected: { etag: string | null },
    options: CallOptions = {},
  ): Promise<{ etag: string } | null> {
    checkKey(key);
    return this.#writeIf(key, bytes, expected, options);
  }

  async putFile(key: string, localPath: string, options: CallOptions = {}): Promise<void> {
    checkKey(key);
    const what = `put file as object ${key}`;
    await this.#call(what, options, async (signal) => {
      const { size: sizeBytes } = await stat(localPath);
      if (sizeBytes > putSizeBytesMax) {
        throw new SpriteError("invalid_request", `${what}: larger than ${putSizeBytesMax} bytes`);
      }
      // Hashed first and read again to be sent: the page cache has it by then.
      const open = (): ReturnType<typeof createReadStream> =>
        createReadStream(localPath, { highWaterMark: copyBufferSizeBytes });
      const hashed = createHash("sha256");
      for await (const piece of open()) hashed.update(piece as Buffer);
      const body = { sizeBytes, open };
      const isCreated = await this.#writes.createFromFile(
        this.#prefix + key,
        { body, sha256: hashed.digest("hex") },
        { what, signal },
      );
      if (isCreated) this.#writtenBytes += sizeBytes;
    });
  }

  async *list(prefix: string, options: ListOptions = {}): AsyncGenerator<ListedObject> {
    checkPrefix(prefix);
    if (options.startAfter) checkKey(options.startAfter);
    for await (const page of this.#pages(prefix, options)) {
      for (const object of page) {
        options.signal?.throwIfAborted();
        // Somebody else's objects in the same bucket may have names that are none of ours.
        if (isObjectKey(object.key)) yield object;
      }
    }
  }

  async deleteMany(keys: readonly string[], options: CallOptions = {}): Promise<void> {
    for (const key of keys) checkKey(key);
    await this.#delete(keys, options);
  }

  async deletePrefix(prefix: string, options: CallOptions = {}): Promise<void> {
    checkPrefix(prefix);
    if (!prefix.endsWith("/")) {
      // `sprites/1` would take `sprites/10` along.
      throw new SpriteError("invalid_request", `prefix ${prefix} to delete must end in a slash`);
    }
    for await (const page of this.#pages(prefix, options)) {
      const keys = page.map(({ key }) => key);
      await this.#delete(keys, options);
    }
  }

  statistics(): ObjectStoreStatistics {
    return {
      requests: { ...this.#client.requests },
      readBytes: this.#readBytes,
      writtenBytes: this.#writtenBytes,
    };
  }

  /** Ends the connections that are kept open; the store can be used no more. */
  close(): void {
    this.#client.close();
  }

  /** One call: its deadline, and its errors as callers get to see them. */
  async #call<T>(
    what: string,
    options: CallOptions,
    work: (signal: AbortSignal | undefined) => Promise<T>,
  ): Promise<T> {
    const deadlineMs = options.deadlineMs ?? callDeadlineMsDefault;
    return withinDeadline(what, { signal: options.signal, deadlineMs }, async ({ signal }) => {
      try {
        return await work(signal);
      } catch (error) {
        if (!(error instanceof AttemptError)) throw storeError(what, error);
        throw new SpriteError("storage_failure", `${what}: ${error.message}`, { cause: error });
      }
    });
  }

  async #read(key: string, options: CallOptions, range?: AskedRange): Promise<TaggedObject | null> {
    checkKey(key);
    const what = range === undefined ? `get object ${key}` : `get part of object ${key}`;
    return this.#call(what, options, (signal) =>
      this.#retries.run(signal, async () => {
        const reply = await this.#hedge.send(signal, (each) =>
          this.#client.send(
            {
              kind: "get",
              method: "GET",
              key: this.#prefix + key,
              ...(range && { headers: { range: rangeHeader(range) } }),
              expected: range === undefined ? [404] : [404, 416],
            },
            each,
          ),
        );
        const bytes = await bytesOf(reply, range);
        if (bytes === null) return null;
        this.#readBytes += bytes.length;
        return { bytes, etag: etagOf(reply) };
      }),
    );
  }

  async #writeIf(
    key: string,
    bytes: Uint8Array,
    expected: { etag: string | null },
    options: CallOptions,
  ): Promise<{ etag: string } | null> {
    const what = expected.etag === null ? `create object ${key}` : `swap object ${key}`;
    const written = await this.#call(what, options, (signal) =>
      this.#writes.write(this.#prefix + key, { bytes, expected }, { what, signal }),
    );
    if (written !== null) this.#writtenBytes += bytes.length;
    return written;
  }

  async *#pages(prefix: string, options: ListOptions): AsyncGenerator<ListPage["objects"]> {
    const { startAfter } = options;
    let continuation: string | null = null;
    do {
      const query: Array<[string, string]> = [
        ["list-type", "2"],
        ["encoding-type", "url"],
        ["prefix", this.#prefix + prefix],
      ];
      if (continuation !== null) query.push(["continuation-token", continuation]);
      else if (startAfter) query.push(["start-after", this.#prefix + startAfter]);
      const page: ListPage = await this.#call(`list objects ${prefix}`, options, (signal) =>
        this.#retries.run(signal, async () => {
          const request = { kind: "list", method: "GET", key: "", query } as const;
          const text = await readBody(await this.#client.send(request, signal));
          const parsed = parseListPage(text.toString());
          if (parsed !== null) return parsed;
          throw new AttemptError("the answer is no list", { isRetryable: true });
        }),
      );
      yield page.objects.map((object) => ({
        ...object,
        key: object.key.slice(this.#prefix.length),
      }));
      ({ continuation } = page);
    } while (continuation !== null);
  }

  async #delete(keys: readonly string[], options: CallOptions): Promise<void> {
    for (let at = 0; at < keys.length; at += deleteBatchMax) {
      let left = keys.slice(at, at + deleteBatchMax).map((key) => this.#prefix + key);
      await this.#call("delete objects", options, (signal) =>
        this.#retries.run(signal, async () => {
          left = await this.#deleteBatch(left, signal);
          if (left.length === 0) return;
          throw new AttemptError(`${left.length} were not deleted`, { isRetryable: true });
        }),
      );
    }
  }

  /** The keys that are still to be deleted. */
  async #deleteBatch(keys: readonly string[], signal: AbortSignal | undefined): Promise<string[]> {
    const body: Body = Buffer.from(deleteRequestBody(keys));
    const reply = await this.#client.send(
      {
        kind: "delete",
        method: "POST",
        key: "",
        query: [["delete", ""]],
        // S3 demands it for this request, beside the signature.
        headers: { "content-md5": hash("md5", body, "base64") },
        body,
      },
      signal,
    );
    const failed = parseDeleteResult((await readBody(reply)).toString());
    if (failed === null) throw new AttemptError("the answer is no deletion", { isRetryable: true });
    const real = failed.filter(({ code }) => code !== "NoSuchKey");
    const denied = real.find(({ code }) => code === "AccessDenied");
    if (denied !== undefined) throw new AttemptError(`${denied.key}: ${denied.code}`);
    return real.map(({ key }) => key);
  }
}

interface AskedRange {
  offsetBytes: number;
  lengthBytes: number;
  /** As in `RangeOptions`. */
  into: Uint8Array | undefined;
}

function rangeHeader({ offsetBytes, lengthBytes }: AskedRange): string {
  return `bytes=${offsetBytes}-${offsetBytes + lengthBytes - 1}`;
}

/** Null when there is no object. */
async function bytesOf(reply: Reply, range: AskedRange | undefined): Promise<Uint8Array | null> {
  if (reply.status === 404) return null;
  const body = await readBody(reply, { into: range?.into });
  // The object ends before the range begins.
  if (reply.status === 416) return new Uint8Array();
  if (range === undefined) return body;
  // A server may ignore the range and send everything.
  const { offsetBytes, lengthBytes } = range;
  if (reply.status === 200) return body.subarray(offsetBytes, offsetBytes + lengthBytes);
  const isAsked = reply.header("content-range")?.startsWith(`bytes ${offsetBytes}-`) === true;
  if (isAsked && body.length <= lengthBytes) return body;
  throw new AttemptError("the answer is another range than asked for", { isRetryable: true });
}
