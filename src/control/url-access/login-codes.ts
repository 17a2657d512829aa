/** One-time codes: how a login on the login page becomes a session on a sprite's own host. */
import { createHash, randomBytes } from "node:crypto";

import { loginCodeLifetimeMs, loginCodesMax } from "../limits.ts";
import type { Organization } from "../organization.ts";

const codeSizeBytes = 32;

export interface CodedLogin {
  organization: Organization;
  loginId: string;
  hostName: string;
  /** Of the browser that began; the code is worth nothing in another one. */
  nonce: string;
  path: string;
}

/** In memory: a code is good for the moment that a redirect takes. */
export class LoginCodes {
  readonly #now: () => number;
  /** By the code's hash, in order of expiry. */
  readonly #logins = new Map<string, CodedLogin & { expiresAtMs: number }>();

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  issue(login: CodedLogin): string {
    this.#forgetExpired();
    if (this.#logins.size >= loginCodesMax) {
      const [oldest = ""] = this.#logins.keys();
      this.#logins.delete(oldest);
    }
    const code = randomBytes(codeSizeBytes).toString("base64url");
    this.#logins.set(hashOf(code), { ...login, expiresAtMs: this.#now() + loginCodeLifetimeMs });
    return code;
  }

  /** Whatever comes of it, the code is used up: whoever shows one to the wrong host may have stolen it. */
  redeem(code: string, shown: { hostName: string; nonce: string }): CodedLogin | null {
    this.#forgetExpired();
    const key = hashOf(code);
    const login = this.#logins.get(key);
    if (login === undefined) return null;
    this.#logins.delete(key);
    const isSame = login.hostName === shown.hostName && hashOf(login.nonce) === hashOf(shown.nonce);
    return isSame && shown.nonce !== "" ? login : null;
  }

  #forgetExpired(): void {
    const nowMs = this.#now();
    for (const [key, login] of this.#logins) {
      if (login.expiresAtMs > nowMs) return;
      this.#logins.delete(key);
    }
  }
}

/** A map's look-up may tell by its time how much of a key fits; of a hash that tells nothing. */
function hashOf(text: string): string {
  return createHash("sha256").update(text).digest("base64");
}
