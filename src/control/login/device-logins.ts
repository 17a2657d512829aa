/** Logins that wait for somebody's approval, in the way of RFC 8628: a code for the device, one for the person. */

import { createHash, randomBytes, randomInt } from "node:crypto";

import { SpriteError } from "../../contract/errors.ts";
import type { TokenRole } from "../../contract/token.ts";
import {
  loginLifetimeMs,
  loginPollIntervalMs,
  loginsPerAddressMax,
  loginsWaitingMax,
} from "../limits.ts";

/** No vowels, so that a code spells nothing, and no letter that looks like another (RFC 8628, section 6.1). */
const userCodeAlphabet = "BCDFGHJKLMNPQRSTVWXZ";
const userCodeLength = 8;
const deviceCodeSizeBytes = 32;

/** What a person is shown of the device that asks, before saying yes. */
export interface LoginRequester {
  /** In the device's own words: not to be believed. */
  client: string;
  address: string;
}

export interface StartedLogin {
  deviceCode: string;
  userCode: string;
  expiresAtMs: number;
}

export type LoginState =
  | { kind: "waiting" }
  | { kind: "approved"; organizationSlug: string; role: TokenRole }
  | { kind: "denied" };

interface Login extends LoginRequester {
  userCode: string;
  expiresAtMs: number;
  lastPollMs: number;
  state: LoginState;
}

/** What a poll finds. An answer other than `waiting` is given once; the login is then forgotten. */
export type PollAnswer =
  | { kind: "waiting" | "tooEarly" | "denied" | "unknown" }
  | { kind: "approved"; organizationSlug: string; role: TokenRole; client: string };

/** Kept in memory only: a login is a matter of minutes, and a restarted server has none. */
export class DeviceLogins {
  readonly #now: () => number;
  /** By the hash of the device code, in order of expiry. */
  readonly #byDevice = new Map<string, Login>();

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** @throws SpriteError rate_limited */
  start(requester: LoginRequester): StartedLogin {
    this.#forgetExpired();
    const waiting = [...this.#byDevice.values()];
    const ofAddress = waiting.filter(({ address }) => address === requester.address).length;
    if (waiting.length >= loginsWaitingMax || ofAddress >= loginsPerAddressMax) {
      const retryAfterMs = Math.max(1_000, (waiting[0]?.expiresAtMs ?? 0) - this.#now());
      throw new SpriteError("rate_limited", "too many logins wait for approval", {
        details: { retry_after_seconds: Math.ceil(retryAfterMs / 1000) },
      });
    }
    const deviceCode = randomBytes(deviceCodeSizeBytes).toString("base64url");
    const userCode = this.#unusedUserCode();
    const expiresAtMs = this.#now() + loginLifetimeMs;
    const state: LoginState = { kind: "waiting" };
    const login = { ...requester, userCode, expiresAtMs, lastPollMs: 0, state };
    this.#byDevice.set(hashOf(deviceCode), login);
    return { deviceCode, userCode, expiresAtMs };
  }

  /** Null when no login with this code waits. Codes are read as people type them. */
  find(typedCode: string): (LoginRequester & { userCode: string }) | null {
    const login = this.#waiting(typedCode);
    if (login === null) return null;
    return { userCode: login.userCode, client: login.client, address: login.address };
  }

  /** False when no login with this code waits any more. */
  settle(typedCode: string, state: Exclude<LoginState, { kind: "waiting" }>): boolean {
    const login = this.#waiting(typedCode);
    if (login === null) return false;
    login.state = state;
    return true;
  }

  poll(deviceCode: string): PollAnswer {
    this.#forgetExpired();
    const key = hashOf(deviceCode);
    const login = this.#byDevice.get(key);
    if (login === undefined) return { kind: "unknown" };
    const nowMs = this.#now();
    const isTooEarly = nowMs - login.lastPollMs < loginPollIntervalMs / 2;
    login.lastPollMs = nowMs;
    const { state, client } = login;
    if (state.kind === "waiting") return { kind: isTooEarly ? "tooEarly" : "waiting" };
    this.#byDevice.delete(key);
    return state.kind === "denied" ? state : { ...state, client };
  }

  #waiting(typedCode: string): Login | null {
    this.#forgetExpired();
    const userCode = normalUserCode(typedCode);
    for (const login of this.#byDevice.values()) {
      if (login.userCode === userCode && login.state.kind === "waiting") return login;
    }
    return null;
  }

  /** All live equally long, so the oldest come first. */
  #forgetExpired(): void {
    const nowMs = this.#now();
    for (const [key, login] of this.#byDevice) {
      if (login.expiresAtMs > nowMs) return;
      this.#byDevice.delete(key);
    }
  }

  #unusedUserCode(): string {
    const used = new Set([...this.#byDevice.values()].map(({ userCode }) => userCode));
    for (;;) {
      const userCode = randomUserCode();
      // Of 25 billion codes at most a thousand are taken.
      if (!used.has(userCode)) return userCode;
    }
  }
}

function randomUserCode(): string {
  const letters = Array.from(
    { length: userCodeLength },
    () => userCodeAlphabet[randomInt(userCodeAlphabet.length)],
  ).join("");
  return `${letters.slice(0, 4)}-${letters.slice(4)}`;
}

/** `wdjb mjht` is WDJB-MJHT. */
function normalUserCode(typed: string): string {
  const letters = typed.toUpperCase().replace(/[^A-Z]/g, "");
  return `${letters.slice(0, 4)}-${letters.slice(4)}`;
}

/** A map's look-up may tell by its time how much of a key fits; of a hash that tells nothing. */
function hashOf(deviceCode: string): string {
  return createHash("sha256").update(deviceCode).digest("base64");
}
