/** What the edge asks of a server's tokens and logins (`edge/access/url-access.ts`). */
import { SpriteError } from "../../contract/errors.ts";
import type { Organizations } from "../organizations.ts";
import { authenticate, type Caller } from "../tokens.ts";
import type { LoginCodes } from "./login-codes.ts";
import { spriteAtHost } from "./sprite-at-host.ts";
import type { UrlSessions } from "./url-sessions.ts";

export interface Visitor {
  organizationSlug: string;
  isAdmin: boolean;
}

export interface UrlAccessOptions {
  organizations: Organizations;
  sessions: UrlSessions;
  codes: LoginCodes;
  urlDomain: string;
  onTokenUsed(caller: Caller): void;
}

export class UrlAccess {
  readonly #options: UrlAccessOptions;

  constructor(options: UrlAccessOptions) {
    this.#options = options;
  }

  /** Whether a sprite's URL is at this host. */
  isKnownHost(hostName: string): boolean {
    const { organizations, urlDomain } = this.#options;
    return spriteAtHost(organizations, { hostName, urlDomain }) !== null;
  }

  visitorByToken(authorization: string): Visitor | null {
    try {
      const caller = authenticate(this.#options.organizations, authorization);
      this.#options.onTokenUsed(caller);
      const { organization, role } = caller;
      return { organizationSlug: organization.record.slug, isAdmin: role === "admin" };
    } catch (error) {
      if (error instanceof SpriteError && error.code === "unauthorized") return null;
      throw error;
    }
  }

  /** Also under another scheme's name: it is for nobody inside. */
  isToken(authorization: string): boolean {
    return authorization.split(/\s+/).some((word) => {
      const [slug = "", organizationId, ...rest] = word.split("/");
      if (rest.length !== 2) return false;
      return this.#options.organizations.find(slug)?.record.id === organizationId;
    });
  }

  visitorBySession(session: string, hostName: string): Visitor | null {
    const found = this.#options.sessions.find(session, hostName);
    if (found === null) return null;
    return { organizationSlug: found.organization.record.slug, isAdmin: found.isAdmin };
  }

  redeem(
    code: string,
    login: { hostName: string; nonce: string },
  ): { session: string; lifetimeMs: number; path: string } | null {
    const coded = this.#options.codes.redeem(code, login);
    if (coded === null) return null;
    const opened = this.#options.sessions.openHost(coded.organization, coded);
    return opened === null ? null : { ...opened, path: coded.path };
  }

  endSession(session: string, hostName: string): void {
    this.#options.sessions.end(session, hostName);
  }
}
