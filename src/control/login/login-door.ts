/**
 * `/login`: how a command line gets a token without anybody copying one into it (RFC 8628). The
 * command line asks for a code, a person approves it on a page here, the command line fetches a
 * token of its own.
 */

import { randomBytes } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";

import { SpriteError } from "../../contract/errors.ts";
import { isOrganizationSlug } from "../../contract/names.ts";
import {
  deviceLoginSchema,
  deviceTokenSchema,
  type DeviceLoginObject,
  type DeviceTokenObject,
} from "../../contract/login.ts";
import { validate } from "../../contract/validate.ts";
import { assertMethodAllowed } from "../api.ts";
import type { Exchange } from "../exchange.ts";
import { readFormBody, readJsonBody } from "../json-body.ts";
import { loginLifetimeMs, loginPollIntervalMs } from "../limits.ts";
import type { Organizations } from "../organizations.ts";
import { authenticate, issueToken, secretsEqual } from "../tokens.ts";
import { DeviceLogins, type LoginState } from "./device-logins.ts";
import { FailedAttempts } from "./failed-attempts.ts";
import { approvalPage, codePage, pageHeaders, resultPage } from "./login-page.ts";

const csrfCookie = "sprites_login";
const csrfSizeBytes = 24;

/** What a poll is told, by the names of RFC 8628, section 3.5. */
const pollErrors = {
  waiting: ["authorization_pending", "nobody has approved the login yet"],
  tooEarly: ["slow_down", "ask less often"],
  denied: ["access_denied", "the login was refused"],
  unknown: ["expired_token", "the login has expired; begin a new one"],
} as const;

export interface LoginDoorOptions {
  organizations: Organizations;
  /** Its holder may approve for any organization; null: only holders of tokens may, for theirs. */
  adminSecret: string | null;
}

interface Visit {
  exchange: Exchange;
  request: IncomingMessage;
  response: ServerResponse;
  expectsContinue: boolean;
}

export function isLoginPath(rawPath: string): boolean {
  return rawPath === "/login" || rawPath.startsWith("/login/");
}

export class LoginDoor {
  readonly #options: LoginDoorOptions;
  readonly #logins = new DeviceLogins();
  readonly #failures = new FailedAttempts();

  constructor(options: LoginDoorOptions) {
    this.#options = options;
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
    const { organizationSlug, client } = answer;
    const token = issueToken(this.#options.organizations, organizationSlug, client);
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
    if (typed === null) return sendPage(visit, 200, codePage({}));
    const address = addressOf(request);
    this.#failures.assertAllowed(address);
    const login = this.#logins.find(typed);
    if (login === null) return this.#sendUnknownCode(visit);
    const csrfToken = randomBytes(csrfSizeBytes).toString("base64url");
    sendPage(visit, 200, approvalPage({ ...login, csrfToken, organization: "" }), csrfToken);
  }

  /** A wrong code counts as a failure: codes are short. */
  #sendUnknownCode(visit: Visit): void {
    this.#failures.note(addressOf(visit.request));
    const problem = "No login with this code waits. It may have expired: look at your terminal.";
    sendPage(visit, 404, codePage({ problem }));
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
      return sendPage(visit, 200, resultPage({ title: "Refused", text }));
    }
    const organization = (form.get("organization") ?? "").trim();
    const verdict = this.#judge((form.get("credential") ?? "").trim(), organization);
    if ("problem" in verdict) {
      if (verdict.isWrong) this.#failures.note(address);
      const { problem } = verdict;
      const shown = approvalPage({ ...login, csrfToken, organization, problem });
      return sendPage(visit, 403, shown, csrfToken);
    }
    this.#logins.settle(typed, verdict);
    const text = `Your terminal now acts for ${verdict.organizationSlug}. You can close this page.`;
    sendPage(visit, 200, resultPage({ title: "Logged in", text }));
  }

  /** Whom the credential lets in, or why it does not. */
  #judge(
    credential: string,
    organization: string,
  ): Extract<LoginState, { kind: "approved" }> | { problem: string; isWrong: boolean } {
    const { adminSecret, organizations } = this.#options;
    if (credential === "") {
      return { problem: "Give a token or the admin secret.", isWrong: false };
    }
    if (adminSecret !== null && secretsEqual(credential, adminSecret)) {
      if (isOrganizationSlug(organization)) {
        return { kind: "approved", organizationSlug: organization };
      }
      const problem =
        "Name the organization: lower-case letters, digits and hyphens, such as `local`.";
      return { problem, isWrong: false };
    }
    try {
      const caller = authenticate(organizations, `Bearer ${credential}`);
      const { slug } = caller.organization.record;
      if (organization === "" || organization === slug) {
        return { kind: "approved", organizationSlug: slug };
      }
      return { problem: `This token is of the organization ${slug}.`, isWrong: false };
    } catch (error) {
      if (!(error instanceof SpriteError) || error.code !== "unauthorized") throw error;
      const problem = "This is neither a valid token nor the server's admin secret.";
      return { problem, isWrong: true };
    }
  }
}

/**
 * The form must come from a page of ours in the same browser: its cookie and its field are the same
 * random text, and the browser names no other site. Returns that text. @throws SpriteError forbidden
 */
function assertFromOurPage(request: IncomingMessage, form: URLSearchParams): string {
  const { origin } = request.headers;
  // Behind a proxy the browser knows us by another name. No other site can make a form say so.
  const host = request.headers["x-forwarded-host"] ?? request.headers.host;
  const site = request.headers["sec-fetch-site"];
  const cookie = cookieOf(request.headers.cookie, csrfCookie);
  const field = form.get("csrf") ?? "";
  const isOurs =
    (site === undefined || site === "same-origin") &&
    (origin === undefined || URL.parse(origin)?.host === host) &&
    field !== "" &&
    cookie !== null &&
    secretsEqual(field, cookie);
  if (!isOurs) {
    throw new SpriteError("forbidden", "the form did not come from this server's own login page");
  }
  return field;
}

function cookieOf(header: string | undefined, name: string): string | null {
  for (const pair of (header ?? "").split(";")) {
    const separator = pair.indexOf("=");
    if (pair.slice(0, separator).trim() === name) return pair.slice(separator + 1).trim();
  }
  return null;
}

/** As the client sees us. It is shown to nobody but who sent the header. */
function originOf(request: IncomingMessage): string {
  const host = request.headers.host ?? "";
  const isPlain = /^[A-Za-z0-9.:[\]-]{1,255}$/.test(host);
  const isTls = request.headers["x-forwarded-proto"] === "https";
  return `${isTls ? "https" : "http"}://${isPlain ? host : "localhost"}`;
}

function addressOf(request: IncomingMessage): string {
  return request.socket.remoteAddress ?? "an unknown address";
}

function sendPage(visit: Visit, status: number, page: string, csrfToken?: string): void {
  const isTls = visit.request.headers["x-forwarded-proto"] === "https";
  const rules = `Path=/login; HttpOnly; SameSite=Strict${isTls ? "; Secure" : ""}`;
  const cookie =
    csrfToken === undefined ? {} : { "set-cookie": `${csrfCookie}=${csrfToken}; ${rules}` };
  send(visit, status, page, { ...pageHeaders, ...cookie });
}

function sendJson(visit: Visit, status: number, body: object): void {
  const headers = { "content-type": "application/json", "cache-control": "no-store" };
  send(visit, status, JSON.stringify(body), headers);
}

function send(
  visit: Visit,
  status: number,
  text: string,
  headers: Readonly<Record<string, string>>,
): void {
  const { exchange, response } = visit;
  const length = Buffer.byteLength(text);
  response.writeHead(status, { ...exchange.added, ...headers, "content-length": length });
  response.end(exchange.method === "HEAD" ? undefined : text);
}
