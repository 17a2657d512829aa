/**
 * Certificates of an ACME service: kept on disk, renewed when two thirds of their life are over, and
 * the last good one served whatever the service does. With DNS-01 one wildcard is for all names; with
 * HTTP-01 a name gets its own when it is first asked for, if there is a sprite of that name.
 */
import type { SecureContext } from "node:tls";

import { settlesWithin } from "../../../base/wait.ts";
import type { CertificateSource } from "../../certificates.ts";
import {
  handshakeWaitMs,
  namesWaitingMax,
  renewalIntervalMs,
  renewalJitterPart,
  renewalPart,
} from "../limits.ts";
import type { AcmeOrders } from "./acme-orders.ts";
import type { CertificateStore, KeptCertificate } from "./certificate-store.ts";
import type { OrderRecord } from "./order-record.ts";

export interface AcmeSourceOptions {
  domain: string;
  isWildcard: boolean;
  orders: Pick<AcmeOrders, "order">;
  store: CertificateStore;
  record: OrderRecord;
  /** Whether a name one label below the domain is somebody's. */
  isKnownName(name: string): boolean;
  /** Told of a name that got no certificate, and, with null, that it has one again. */
  onProblem(name: string, problem: Error | null): void;
  now: () => number;
  random: () => number;
}

interface Entry {
  names: readonly string[];
  current: KeptCertificate | null;
  renewAtMs: number;
  ordering: Promise<void> | null;
}

export class AcmeSource implements CertificateSource {
  readonly #options: AcmeSourceOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #problems = new Map<string, string>();
  /** One order at a time. */
  #lastOrder: Promise<void> = Promise.resolve();
  #waiting = 0;
  #timer: NodeJS.Timeout | null = null;
  #isRunning = false;

  private constructor(options: AcmeSourceOptions) {
    this.#options = options;
  }

  /** Reads what is kept. Nothing is ordered before `start`. */
  static async open(options: AcmeSourceOptions): Promise<AcmeSource> {
    const source = new AcmeSource(options);
    for (const name of await options.store.list()) await source.#adopt(name);
    return source;
  }

  /** Orders what is missing, in the background: the service can reach us from now on. */
  start(): void {
    this.#isRunning = true;
    this.renewDue();
    this.#timer = setInterval(() => this.renewDue(), renewalIntervalMs).unref();
  }

  /** An order that is under way is left to itself; what it brings is not kept. */
  stop(): void {
    this.#isRunning = false;
    if (this.#timer !== null) clearInterval(this.#timer);
  }

  /** For people: what is wrong now, a sentence a name. */
  get problems(): readonly string[] {
    return [...this.#problems].map(([name, reason]) => `no certificate for ${name}: ${reason}`);
  }

  async contextFor(serverName: string): Promise<SecureContext | null> {
    const entry = this.#entryFor(serverName);
    if (entry === null) return null;
    if (entry.current === null) {
      const order = this.#startOrder(entry);
      if (order !== null) await settlesWithin(order, handshakeWaitMs);
    }
    return entry.current?.context ?? null;
  }

  /** Begins the orders that are due; those of names that nobody has any more are dropped instead. */
  renewDue(): void {
    const { domain, store } = this.#options;
    for (const name of this.#permanentNames()) this.#entry(name);
    for (const [key, entry] of this.#entries) {
      if (entry.current !== null && this.#options.now() < entry.renewAtMs) continue;
      const isWanted = this.#permanentNames().includes(key) || this.#isKnown(key);
      if (isWanted) {
        void this.#startOrder(entry);
      } else if (entry.ordering === null) {
        this.#entries.delete(key);
        this.#problems.delete(key);
        if (key !== domain) void store.remove(key).catch(() => undefined);
      }
    }
  }

  #permanentNames(): string[] {
    const { domain, isWildcard } = this.#options;
    return isWildcard ? [domain] : [domain, `api.${domain}`];
  }

  #isKnown(name: string): boolean {
    const { domain, isWildcard } = this.#options;
    return !isWildcard && isOneLabelBelow(name, domain) && this.#options.isKnownName(name);
  }

  #entryFor(serverName: string): Entry | null {
    const { domain, isWildcard } = this.#options;
    const name = serverName === "" ? domain : serverName;
    if (isWildcard) {
      const isOurs = name === domain || isOneLabelBelow(name, domain);
      return isOurs ? this.#entry(domain) : null;
    }
    const known = this.#entries.get(name);
    if (known !== undefined) return known;
    return this.#permanentNames().includes(name) || this.#isKnown(name) ? this.#entry(name) : null;
  }

  #entry(key: string): Entry {
    const known = this.#entries.get(key);
    if (known !== undefined) return known;
    const names = this.#options.isWildcard ? [key, `*.${key}`] : [key];
    const entry: Entry = { names, current: null, renewAtMs: 0, ordering: null };
    this.#entries.set(key, entry);
    return entry;
  }

  async #adopt(name: string): Promise<void> {
    const { domain, isWildcard, store } = this.#options;
    const isOurs = name === domain || (!isWildcard && isOneLabelBelow(name, domain));
    if (!isOurs) return;
    try {
      const kept = await store.read(name);
      if (kept !== null) this.#use(this.#entry(name), kept);
    } catch (error) {
      // It is ordered anew, as if it had never been.
      this.#tell(name, asError(error));
    }
  }

  #use(entry: Entry, certificate: KeptCertificate): void {
    const { notBeforeMs, notAfterMs } = certificate;
    const part = renewalPart + renewalJitterPart * this.#options.random();
    entry.current = certificate;
    entry.renewAtMs = notBeforeMs + (notAfterMs - notBeforeMs) * part;
  }

  /** Null when it is too early for another try. */
  #startOrder(entry: Entry): Promise<void> | null {
    if (entry.ordering !== null) return entry.ordering;
    const { record, now } = this.#options;
    const [key = ""] = entry.names;
    const isNew = entry.current === null;
    if (!this.#isRunning || this.#waiting >= namesWaitingMax) return null;
    const nextTryAtMs = record.nextTryAtMs(key, isNew);
    if (nextTryAtMs > now()) {
      const time = new Date(nextTryAtMs).toISOString();
      if (!this.#problems.has(key)) this.#tell(key, new Error(`the next try is at ${time}`));
      return null;
    }
    this.#waiting += 1;
    const order = this.#lastOrder.then(() => this.#order(entry, key));
    this.#lastOrder = order;
    entry.ordering = order.finally(() => {
      this.#waiting -= 1;
      entry.ordering = null;
    });
    return entry.ordering;
  }

  /** Never rejects: what is wrong is told, and the next try comes in time. */
  async #order(entry: Entry, key: string): Promise<void> {
    const { orders, store, record } = this.#options;
    try {
      if (!this.#isRunning) return;
      await record.noteOrder(key, entry.current === null);
      const ordered = await orders.order(entry.names);
      if (!this.#isRunning) return;
      this.#use(entry, await store.write(key, ordered));
      await record.noteSuccess(key);
      this.#tell(key, null);
    } catch (error) {
      this.#tell(key, asError(error));
    }
  }

  #tell(name: string, problem: Error | null): void {
    if (problem === null && !this.#problems.delete(name)) return;
    if (problem !== null) this.#problems.set(name, problem.message);
    this.#options.onProblem(name, problem);
  }
}

function isOneLabelBelow(name: string, domain: string): boolean {
  if (!name.endsWith(`.${domain}`)) return false;
  return /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(name.slice(0, -domain.length - 1));
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
