/**
 * Browser sessions: a login on the login page's own host, and of it one session for each sprite's
 * host that was opened. The browser has random text, the organization's database its hash.
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";

import { urlLoginLifetimeMs, urlSessionLifetimeMs, urlSessionsMax } from "../limits.ts";
import type { Organization } from "../organization.ts";
import type { Organizations } from "../organizations.ts";
import { randomTokenId } from "../random-ids.ts";
import type { UrlSessionRow } from "./session-rows.ts";

const secretSizeBytes = 32;
const sessionPattern = /^([a-z0-9-]{1,100})\.([a-z0-9]{16})\.([A-Za-z0-9_-]{43})$/;

/** Who has logged in, and by what. */
export interface LoggedIn {
  organization: Organization;
  isAdmin: boolean;
  loginId: string;
}

/** A token's id, or that it was the server's admin secret. */
export type Credential = { kind: "token"; tokenId: string } | { kind: "adminSecret" };

export interface UrlSessionsOptions {
  organizations: Organizations;
  adminSecret: string | null;
  now?: () => number;
}

export class UrlSessions {
  readonly #organizations: Organizations;
  readonly #adminCredential: string | null;
  readonly #now: () => number;

  constructor(options: UrlSessionsOptions) {
    const { organizations, adminSecret, now = Date.now } = options;
    this.#organizations = organizations;
    this.#now = now;
    // A session ends when the secret changes, and tells nothing about it.
    this.#adminCredential = adminSecret === null ? null : `admin:${digestOf(adminSecret)}`;
  }

  /** A session of the login page's own host. */
  logIn(organization: Organization, credential: Credential): { session: string; loginId: string } {
    const id = randomTokenId();
    const text =
      credential.kind === "token" ? `token:${credential.tokenId}` : this.#adminCredential;
    if (text === null) throw new Error("there is no admin secret");
    const expiresAtMs = this.#now() + urlLoginLifetimeMs;
    const row = { id, host: null, loginId: id, credential: text, expiresAtMs };
    return { session: this.#insert(organization, row), loginId: id };
  }

  /** A session of a sprite's host; null when the login is over meanwhile. */
  openHost(
    organization: Organization,
    login: { loginId: string; hostName: string },
  ): { session: string; lifetimeMs: number } | null {
    const { loginId, hostName: host } = login;
    const row = organization.urlSessions.find(loginId);
    const nowMs = this.#now();
    if (row === null || row.host !== null || this.#validRole(organization, row) === null)
      return null;
    const lifetimeMs = Math.min(urlSessionLifetimeMs, row.expiresAtMs - nowMs);
    const { credential } = row;
    const expiresAtMs = nowMs + lifetimeMs;
    const id = randomTokenId();
    const session = this.#insert(organization, { id, host, loginId, credential, expiresAtMs });
    return { session, lifetimeMs };
  }

  /**
   * Read anew each time: its token may have been revoked a moment ago.
   * @param hostName null for the login page's own
   */
  find(session: string, hostName: string | null): LoggedIn | null {
    const [, slug = "", id = "", secret = ""] = sessionPattern.exec(session) ?? [];
    const organization = slug === "" ? null : this.#organizations.find(slug);
    const row = organization?.urlSessions.find(id) ?? null;
    if (organization === null || row === null || row.host !== hostName) return null;
    if (!timingSafeEqual(row.hash, hashOf(secret))) return null;
    const role = this.#validRole(organization, row);
    if (role === null) return null;
    return { organization, isAdmin: role === "admin", loginId: row.loginId };
  }

  /** The login of which the session came, and with it all that came of the same. */
  end(session: string, hostName: string | null): void {
    const found = this.find(session, hostName);
    found?.organization.urlSessions.deleteLogin(found.loginId);
  }

  #validRole(organization: Organization, row: UrlSessionRow): "admin" | "member" | null {
    if (row.expiresAtMs <= this.#now()) return null;
    const [kind, id = ""] = row.credential.split(":");
    if (kind === "token") return organization.validToken(id)?.role ?? null;
    return row.credential === this.#adminCredential ? "admin" : null;
  }

  #insert(organization: Organization, row: Omit<UrlSessionRow, "hash">): string {
    const secret = randomBytes(secretSizeBytes).toString("base64url");
    const limits = { nowMs: this.#now(), rowsMax: urlSessionsMax };
    organization.urlSessions.insert({ ...row, hash: hashOf(secret) }, limits);
    return `${organization.record.slug}.${row.id}.${secret}`;
  }
}

function hashOf(secret: string): Buffer {
  return createHash("sha256").update(secret).digest();
}

function digestOf(secret: string): string {
  return createHash("sha256").update(`url session ${secret}`).digest("hex").slice(0, 24);
}
