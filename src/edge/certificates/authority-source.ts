/** Certificates of this server's own authority, made when they are needed and kept in memory. */
import { createSecureContext, type SecureContext } from "node:tls";

import type { CertificateSource } from "../certificates.ts";
import type { Authority } from "./authority.ts";
import { leavesMax, renewalPart } from "./limits.ts";

interface Leaf {
  context: Promise<SecureContext>;
  renewAtMs: number;
}

export interface AuthoritySourceOptions {
  authority: Pick<Authority, "issue">;
  domain: string;
  now?: () => number;
}

export class AuthoritySource implements CertificateSource {
  readonly #options: AuthoritySourceOptions;
  readonly #now: () => number;
  /** In order of their last use. */
  readonly #leaves = new Map<string, Leaf>();

  constructor(options: AuthoritySourceOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  async contextFor(serverName: string): Promise<SecureContext | null> {
    const names = this.#namesFor(serverName);
    if (names === null) return null;
    const key = names.join(" ");
    const nowMs = this.#now();
    const kept = this.#leaves.get(key);
    const isFresh = kept !== undefined && kept.renewAtMs > nowMs;
    const leaf = isFresh ? kept : this.#issue(names, nowMs);
    this.#leaves.delete(key);
    this.#leaves.set(key, leaf);
    if (this.#leaves.size > leavesMax) {
      const [oldest = ""] = this.#leaves.keys();
      this.#leaves.delete(oldest);
    }
    try {
      return await leaf.context;
    } catch (error) {
      if (this.#leaves.get(key) === leaf) this.#leaves.delete(key);
      throw error;
    }
  }

  /**
   * One certificate is for all names, unless the domain is a single label: browsers take no wildcard
   * just below the top. A client that names nobody, since it came by an address, gets the domain's.
   */
  #namesFor(serverName: string): string[] | null {
    const { domain } = this.#options;
    const name = serverName === "" ? domain : serverName;
    if (name !== domain && !isBelow(name, domain)) return null;
    if (domain.includes(".")) return [domain, `*.${domain}`];
    return [name];
  }

  #issue(names: readonly string[], nowMs: number): Leaf {
    const issued = this.#options.authority.issue(names);
    const context = issued.then(({ certificatePem, keyPem }) =>
      createSecureContext({ cert: certificatePem, key: keyPem, minVersion: "TLSv1.2" }),
    );
    const leaf: Leaf = { context, renewAtMs: Infinity };
    issued.then(
      ({ notAfterMs }) => (leaf.renewAtMs = nowMs + (notAfterMs - nowMs) * renewalPart),
      // Whoever waits for the context hears of it.
      () => undefined,
    );
    return leaf;
  }
}

/** One label below, of the form that names have. */
function isBelow(name: string, domain: string): boolean {
  if (!name.endsWith(`.${domain}`)) return false;
  return /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(name.slice(0, -domain.length - 1));
}
