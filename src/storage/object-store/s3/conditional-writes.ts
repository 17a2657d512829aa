import { SpriteError } from "../../../contract/errors.ts";
import { outcomeUnknown } from "../call-scope.ts";
import { lastQuestionDeadlineMs } from "../limits.ts";
import type { TaggedObject } from "../object-store.ts";
import type { Body, Reply } from "./http-exchange.ts";
import { AttemptError, type Retries } from "./retries.ts";
import { readBody, type S3Client } from "./s3-client.ts";

interface Call {
  /** Names the call in an error. */
  what: string;
  signal: AbortSignal | undefined;
}

interface Write {
  bytes: Uint8Array;
  expected: { etag: string | null };
}

/**
 * Writes that the bucket decides: only if there is no object, or only if its tag is still the one that was seen.
 *
 * A write whose reply is lost may have been done, and then its retry is refused because of it. So after an attempt without an
 * answer a refusal proves nothing: the object is read and compared. When all attempts are used up, it is asked for once more;
 * where that does not settle it, the error says that the outcome is unknown.
 */
export class ConditionalWrites {
  readonly #client: S3Client;
  readonly #retries: Retries;
  /** Ceph RGW 16 refuses every tag in quotes, which HTTP prescribes. Null until a swap has succeeded. */
  #isEtagQuoted: boolean | null;

  constructor(options: { client: S3Client; retries: Retries; isEtagQuoted: boolean | null }) {
    this.#client = options.client;
    this.#retries = options.retries;
    this.#isEtagQuoted = options.isEtagQuoted;
  }

  /** The new tag, or null when another write was there first. @throws SpriteError with isOutcomeUnknown */
  async write(key: string, write: Write, call: Call): Promise<{ etag: string } | null> {
    const progress = { isUnknown: false, isQuoted: this.#isEtagQuoted ?? true };
    try {
      return await this.#retries.run(call.signal, () =>
        this.#attempt(key, write, progress, call.signal),
      );
    } catch (error) {
      if (!progress.isUnknown) throw error;
      // The call's time is up: nobody waits for the answer.
      if (call.signal?.aborted) throw outcomeUnknown(call.what, error);
      return this.#askWhatBecameOf(key, write, { ...call, cause: error });
    }
  }

  /**
   * Creates an object from a file; false when there is one of the same size, which its name says to be the same.
   * @throws SpriteError storage_failure when there is another one
   */
  async createFromFile(
    key: string,
    file: { body: Exclude<Body, Uint8Array>; sha256: string },
    { what, signal }: Call,
  ): Promise<boolean> {
    const isCreated = await this.#retries.run(signal, async () => {
      const reply = await this.#client.send(
        {
          kind: "put",
          method: "PUT",
          key,
          headers: { "if-none-match": "*" },
          body: file.body,
          bodySha256: file.sha256,
          expected: [412],
        },
        signal,
      );
      await readBody(reply);
      return reply.status !== 412;
    });
    if (isCreated) return true;
    const existing = await this.#retries.run(signal, async () => {
      const reply = await this.#client.send(
        { kind: "get", method: "HEAD", key, expected: [404] },
        signal,
      );
      reply.discard();
      return reply;
    });
    if (Number(existing.header("content-length") ?? Number.NaN) === file.body.sizeBytes)
      return false;
    throw new SpriteError("storage_failure", `${what}: it exists with another size`);
  }

  async #attempt(
    key: string,
    { bytes, expected }: Write,
    progress: { isUnknown: boolean; isQuoted: boolean },
    signal: AbortSignal | undefined,
  ): Promise<{ etag: string } | null> {
    const reply = await this.#put(key, { bytes, expected }, progress, signal);
    if (reply.status < 300) {
      if (expected.etag !== null) this.#isEtagQuoted = progress.isQuoted;
      return { etag: etagOf(reply) };
    }
    const isTagSure = expected.etag === null || this.#isEtagQuoted !== null;
    if (!progress.isUnknown && isTagSure) return null;
    const seen = await this.#get(key, signal);
    if (progress.isUnknown && seen !== null && isSame(seen.bytes, bytes))
      return { etag: seen.etag };
    // The tag is right and was refused: this store wants it in the other form.
    if (!isTagSure && seen?.etag === expected.etag && progress.isQuoted) {
      progress.isQuoted = false;
      return this.#attempt(key, { bytes, expected }, progress, signal);
    }
    return null;
  }

  async #put(
    key: string,
    { bytes, expected }: Write,
    progress: { isUnknown: boolean; isQuoted: boolean },
    signal: AbortSignal | undefined,
  ): Promise<Reply> {
    const tag = progress.isQuoted ? `"${expected.etag}"` : `${expected.etag}`;
    try {
      const reply = await this.#client.send(
        {
          kind: "put",
          method: "PUT",
          key,
          headers: expected.etag === null ? { "if-none-match": "*" } : { "if-match": tag },
          body: bytes,
          // 404: the object that was to be replaced is gone.
          expected: expected.etag === null ? [412] : [412, 404],
        },
        signal,
      );
      // What a missing object answered has been read already.
      if (reply.status !== 404) await readBody(reply);
      return reply;
    } catch (error) {
      // An abort leaves the request without an answer as well.
      const isAnswered = error instanceof AttemptError && !error.isOutcomeUnknown;
      if (!isAnswered && !(error instanceof SpriteError && !signal?.aborted))
        progress.isUnknown = true;
      throw error;
    }
  }

  async #get(key: string, signal: AbortSignal | undefined): Promise<TaggedObject | null> {
    const request = { kind: "get", method: "GET", key, expected: [404] } as const;
    const reply = await this.#client.send(request, signal);
    return reply.status === 404 ? null : { bytes: await readBody(reply), etag: etagOf(reply) };
  }

  async #askWhatBecameOf(
    key: string,
    { bytes, expected }: Write,
    { what, cause }: Call & { cause: unknown },
  ): Promise<{ etag: string } | null> {
    let seen: TaggedObject | null;
    try {
      seen = await this.#get(key, AbortSignal.timeout(lastQuestionDeadlineMs));
    } catch {
      throw outcomeUnknown(what, cause);
    }
    if (seen !== null && isSame(seen.bytes, bytes)) return { etag: seen.etag };
    // As long as the condition holds, the write may still arrive.
    const holds = seen === null ? expected.etag === null : seen.etag === expected.etag;
    if (holds) throw outcomeUnknown(what, cause);
    return null;
  }
}

function isSame(first: Uint8Array, second: Uint8Array): boolean {
  return Buffer.compare(first, second) === 0;
}

/** Without its quotes. */
export function etagOf(reply: Reply): string {
  return (reply.header("etag") ?? "").replace(/^"(.*)"$/, "$1");
}
