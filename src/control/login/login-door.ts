/**
 * `/login`: how a command line gets a token without anybody copying one into it (RFC 8628). The
 * command line asks for a code, a person approves it on a page here, the command line fetches a
 * token of its own.
 */

import type { IncomingMessage } from "node:http";

import { SpriteError } from "../../contract/errors.ts";
import {
  deviceLoginSchema,
  deviceTokenSchema,
  type DeviceLoginObject,
  type DeviceTokenObject,
} from "../../contract/login.ts";
import { validate } from "../../contract/validate.ts";
import { assertMethodAllowed } from "../api.ts";
import { readFormBody, readJsonBody } from "../json-body.ts";
import { loginLifetimeMs, loginPollIntervalMs } from "../limits.ts";
import { issueToken } from "../tokens.ts";
import type { LoginCodes } from "../url-access/login-codes.ts";
import type { UrlSessions } from "../url-access/url-sessions.ts";
import { judgeCredential, type JudgeOptions } from "./credentials.ts";
import { DeviceLogins } from "./device-logins.ts";
import { FailedAttempts } from "./failed-attempts.ts";
import { addressOf, assertFromOurPage, isOverTls, newCsrfToken } from "./form-guard.ts";
import { approvalPage, codePage, resultPage } from "./login-page.ts";
import { sendJson, sendPage, type Visit } from "./page-answers.ts";
import { UrlLoginDoor } from "./url-login-door.ts";

/** What a poll is told, by the names of RFC 8628, section 3.5. */
const pollErrors = {
  waiting: ["authorization_pending", "nobody has approved the login yet"],
  tooEarly: ["slow_down", "ask less often"],
  denied: ["access_denied", "the login was refused"],
  unknown: ["expired_token", "the login has expired; begin a new one"],
} as const;

export interface LoginDoorOptions extends JudgeOptions {
  sessions: UrlSessions;
  codes: LoginCodes;
  urlDomain: string;
}

export function isLoginPath(rawPath: string): boolean {
  return rawPath === "/login" || rawPath.startsWith("/login/");
}

export class LoginDoor {
  readonly #options: LoginDoorOptions;
  readonly #logins = new DeviceLogins();
  readonly #failures = new FailedAttempts();
  readonly #urls: UrlLoginDoor;

  constructor(options: LoginDoorOptions) {
    this.#options = options;
    this.#urls = new UrlLoginDoor({ ...options, failures: this.#failures });
  }

  /** @throws SpriteError */
  async answer(visit: Visit): Promise<void> {
    const { exchange } = visit;
    switch (exchange.target.rawPath) {
      case "/login":
        assertMethodAllowed(exchange.method, ["GET", "HEAD", "POST"]);
        if (exchange.method === "POST") return await this.#settle(visit);
        return this.#showPage(visit);
      case "/login/device":
        assertMethodAllowed(exchange.method, ["POST"]);
        return await this.#start(visit);
      case "/login/device/token":
        assertMethodAllowed(exchange.method, ["POST"]);
        return await this.#poll(visit);
      case "/login/url":
        return await this.#urls.answer(visit);
      default:
        throw new SpriteError("not_found", "no such endpoint");
    }
  }

  async #start(visit: Visit): Promise<void> {
    const { request, response, expectsContinue } = visit;
    const body = await readJsonBody(request, response, expectsContinue);
    const { client } = validate(deviceLoginSchema, body);
    const login = this.#logins.start({ client, address: addressOf(request) });
    const page = `${originOf(request)}/login`;
    const answer: DeviceLoginObject = {
      device_code: login.deviceCode,
      user_code: login.userCode,
      verification_uri: page,
      verification_uri_complete: `${page}?user_code=${login.userCode}`,
      expires_in: loginLifetimeMs / 1000,
      interval: loginPollIntervalMs / 1000,
    };
    sendJson(visit, 200, answer);
  }

  /** The token is made here and not when it is approved: one that nobody fetches never exists. */
  async #poll(visit: Visit): Promise<void> {
    const { request, response, expectsContinue } = visit;
    const body = await readJsonBody(request, response, expectsContinue);
    const { device_code: deviceCode } = validate(deviceTokenSchema, body);
    const address = addressOf(request);
    this.#failures.assertAllowed(address);
    const answer = this.#logins.poll(deviceCode);
    if (answer.kind !== "approved") {
      if (answer.kind === "unknown") this.#failures.note(address);
      const [error, message] = pollErrors[answer.kind];
      return sendJson(visit, 400, { error, message });
    }
    const { organizationSlug, role, client } = answer;
    const { organizations } = this.#options;
    const token = issueToken(organizations, organizationSlug, { description: client, role });
    const granted: DeviceTokenObject = {
      token,
      token_type: "Bearer",
      organization: organizationSlug,
    };
    sendJson(visit, 200, granted);
  }

  #showPage(visit: Visit): void {
    const { exchange, request } = visit;
    const typed = exchange.target.query.get("user_code");
    if (typed === null) return sendPage(visit, { status: 200, page: codePage({}) });
    const address = addressOf(request);
    this.#failures.assertAllowed(address);
    const login = this.#logins.find(typed);
    if (login === null) return this.#sendUnknownCode(visit);
    const csrfToken = newCsrfToken();
    sendPage(visit, {
      status: 200,
      page: approvalPage({ ...login, csrfToken, organization: "" }),
      csrfToken,
    });
  }

  /** A wrong code counts as a failure: codes are short. */
  #sendUnknownCode(visit: Visit): void {
    this.#failures.note(addressOf(visit.request));
    const problem = "No login with this code waits. It may have expired: look at your terminal.";
    sendPage(visit, { status: 404, page: codePage({ problem }) });
  }

  async #settle(visit: Visit): Promise<void> {
    const { request, response, expectsContinue } = visit;
    const form = await readFormBody(request, response, expectsContinue);
    const csrfToken = assertFromOurPage(request, form);
    const address = addressOf(request);
    this.#failures.assertAllowed(address);
    const typed = form.get("user_code") ?? "";
    const login = this.#logins.find(typed);
    if (login === null) return this.#sendUnknownCode(visit);
    if (form.get("action") === "deny") {
      this.#logins.settle(typed, { kind: "denied" });
      const text = "The command line was not let in. You can close this page.";
      return sendPage(visit, { status: 200, page: resultPage({ title: "Refused", text }) });
    }
    const organization = (form.get("organization") ?? "").trim();
    const credential = (form.get("credential") ?? "").trim();
    const verdict = judgeCredential(this.#options, { credential, organization });
    if ("problem" in verdict) {
      if (verdict.isWrong) this.#failures.note(address);
      const { problem } = verdict;
      const shown = approvalPage({ ...login, csrfToken, organization, problem });
      return sendPage(visit, { status: 403, page: shown, csrfToken });
    }
    const { organizationSlug, role } = verdict;
    this.#logins.settle(typed, { kind: "approved", organizationSlug, role });
    const text = `Your terminal now acts for ${organizationSlug}. You can close this page.`;
    sendPage(visit, { status: 200, page: resultPage({ title: "Logged in", text }) });
  }
}

/** As the client sees us. It is shown to nobody but who sent the header. */
function originOf(request: IncomingMessage): string {
  const host = request.headers.host ?? "";
  const isPlain = /^[A-Za-z0-9.:[\]-]{1,255}$/.test(host);
  return `${isOverTls(request) ? "https" : "http"}://${isPlain ? host : "localhost"}`;
}
