/** What the gatekeeper asks of whoever keeps tokens and logins. */

/** Whom a token or a login speaks for. */
export interface Visitor {
  organizationSlug: string;
  isAdmin: boolean;
}

export interface RedeemedLogin {
  /** The cookie's value. */
  session: string;
  /** Milliseconds that it is good for. */
  lifetimeMs: number;
  /** Where the visitor wanted to go; begins with one slash. */
  path: string;
}

/** Everything here is quick: it is asked for each request. */
export interface UrlAccess {
  /** @param authorization the header's value. Null when it holds no token that is valid now */
  visitorByToken(authorization: string): Visitor | null;
  /** Whether it has the form of a token of this server's, valid or not. */
  isToken(authorization: string): boolean;
  /** Null when the session is not one of this host's, is over, or its token was revoked. */
  visitorBySession(session: string, hostName: string): Visitor | null;
  /** Takes a login that has just been made for the host, once. Null when there is none. */
  redeem(code: string, login: { hostName: string; nonce: string }): RedeemedLogin | null;
  /** Ends the session, and the login that it came of, everywhere. */
  endSession(session: string, hostName: string): void;
}
