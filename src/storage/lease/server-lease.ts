/**
 * That this server lives, kept true in the bucket: one PUT every ten seconds, however many sprites the
 * server has. It is for liveness only: two servers that both believe to hold a volume are told apart by the
 * next TXID, which only one of them can create.
 */
import { randomBytes } from "node:crypto";
import { SpriteError } from "../../contract/errors.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import type { LeaseClock } from "./clock.ts";
import { serverRenewMs, serverRequestTimeoutMs, serverRetryMs, serverTtlMs } from "./limits.ts";
import {
  decodeServerRecord,
  encodeServerRecord,
  isServerAlive,
  serverKey,
  type ServerRecord,
} from "./server-record.ts";

export interface ServerLeaseOptions {
  store: ObjectStore;
  server: string;
  /** Of this machine. */
  machine: string;
  clock: LeaseClock;
  /** Called when others may believe us dead, with the reason, and with null when that is over. */
  onTrouble: (reason: string | null) => void;
  signal?: AbortSignal;
}

export class ServerLease {
  readonly #options: ServerLeaseOptions;
  readonly #incarnation = randomBytes(8).toString("hex");
  readonly #abort = new AbortController();
  #sequence = 0;
  #etag: string | null = null;
  #renewedAtMs = 0;
  #isTroubled = false;
  #tenure = 1;
  /** Another process has our record, for good. */
  #isLost = false;
  #ended: Promise<void> = Promise.resolve();

  private constructor(options: ServerLeaseOptions) {
    this.#options = options;
  }

  /**
   * Writes the record and goes on renewing it.
   * @throws SpriteError conflict: another machine runs a server of this id, from a copied data directory
   */
  static async start(options: ServerLeaseOptions): Promise<ServerLease> {
    const lease = new ServerLease(options);
    await lease.#takeOver();
    lease.#ended = lease.#run();
    return lease;
  }

  /**
   * A number that changes whenever others could believe us dead: what was held here under the same number
   * nobody else can have taken. Null while they can.
   */
  get tenure(): number | null {
    const silentMs = this.#options.clock.monotonicMs() - this.#renewedAtMs;
    return this.#isLost || silentMs >= serverTtlMs ? null : this.#tenure;
  }

  /** Stops renewing: this server's sprites go on without it, and others wait for as long as if it had died. */
  async leave(): Promise<void> {
    this.#abort.abort();
    await this.#ended;
  }

  /** Stops renewing and tells others that they need not wait for us. */
  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#ended;
    if (this.#isLost) return;
    await this.#write({ isReleased: true, signal: AbortSignal.timeout(serverRequestTimeoutMs) });
  }

  async #takeOver(): Promise<void> {
    const { store, server, machine, signal } = this.#options;
    const found = await store.getWithEtag(serverKey(server), { signal });
    if (found !== null) {
      const record = decodeServerRecord(found.bytes);
      const isElsewhere = !record.isReleased && record.machine !== machine;
      if (isElsewhere && (await isServerAlive(this.#options))) throw copied(server);
      this.#sequence = record.sequence;
      this.#etag = found.etag;
      if (isElsewhere) this.#etag = (await store.getWithEtag(serverKey(server)))?.etag ?? null;
    }
    if (!(await this.#write({ isReleased: false, signal }))) throw copied(server);
  }

  async #run(): Promise<void> {
    const { clock } = this.#options;
    const { signal } = this.#abort;
    let pauseMs = serverRenewMs;
    while (!this.#isLost) {
      await clock.wait(pauseMs, signal).catch(() => undefined);
      if (signal.aborted) return;
      pauseMs = (await this.#renew()) ? serverRenewMs : serverRetryMs;
    }
  }

  /** False when it has to be tried again soon: others wait for the whole TTL before they believe us dead. */
  async #renew(): Promise<boolean> {
    const timeout = AbortSignal.timeout(serverRequestTimeoutMs);
    const signal = AbortSignal.any([this.#abort.signal, timeout]);
    try {
      this.#isLost = !(await this.#write({ isReleased: false, signal }));
      this.#tell(this.#isLost ? "another process uses this server's id" : null);
      return true;
    } catch (error) {
      const silentMs = this.#options.clock.monotonicMs() - this.#renewedAtMs;
      const cause = error instanceof Error ? error.message : String(error);
      if (silentMs >= serverTtlMs) {
        this.#tell(`not renewed for ${Math.round(silentMs / 1_000)} s: ${cause}`);
      }
      return false;
    }
  }

  /** False when another process has written the record. */
  async #write(options: {
    isReleased: boolean;
    signal?: AbortSignal | undefined;
  }): Promise<boolean> {
    const { store, server, machine, clock } = this.#options;
    const { isReleased, signal } = options;
    const record: ServerRecord = {
      formatVersion: 1,
      server,
      incarnation: this.#incarnation,
      machine,
      sequence: ++this.#sequence,
      isReleased,
      renewedAtMs: clock.nowMs(),
    };
    const bytes = encodeServerRecord(record);
    // The clock is read before the request: what others see is at least as new.
    const beganAtMs = clock.monotonicMs();
    let written = await store.swap(serverKey(server), bytes, { etag: this.#etag }, { signal });
    if (written === null) {
      // Refused. An earlier attempt whose answer was lost may have been ours.
      const found = await store.getWithEtag(serverKey(server), { signal });
      const isOurs =
        found !== null && decodeServerRecord(found.bytes).incarnation === this.#incarnation;
      if (!isOurs) return false;
      written = await store.swap(serverKey(server), bytes, { etag: found.etag }, { signal });
      if (written === null) return false;
    }
    this.#etag = written.etag;
    if (clock.monotonicMs() - this.#renewedAtMs >= serverTtlMs) this.#tenure++;
    this.#renewedAtMs = beganAtMs;
    return true;
  }

  #tell(trouble: string | null): void {
    if ((trouble !== null) === this.#isTroubled) return;
    this.#isTroubled = trouble !== null;
    this.#options.onTrouble(trouble);
  }
}

function copied(server: string): SpriteError {
  const message = `the server ${server} runs on another machine: is the data directory a copy?`;
  return new SpriteError("conflict", message, { details: { holder: server } });
}
