/**
 * `/login/url`: where a sprite's host sends people who are not logged in. Ends in a one-time code, which
 * that very host takes for a session of its own (`url-access/`). Whoever has logged in here once is
 * not asked again for another sprite of the same organization.
 */
import { SpriteError } from "../../contract/errors.ts";
import { assertMethodAllowed } from "../api.ts";
import { readFormBody } from "../json-body.ts";
import { returnPathLengthMax, urlLoginLifetimeMs } from "../limits.ts";
import type { Organization } from "../organization.ts";
import type { SpriteRecord } from "../sprite-record.ts";
import type { LoginCodes } from "../url-access/login-codes.ts";
import { spriteAtHost } from "../url-access/sprite-at-host.ts";
import type { LoggedIn, UrlSessions } from "../url-access/url-sessions.ts";
import { judgeCredential, type JudgeOptions } from "./credentials.ts";
import type { FailedAttempts } from "./failed-attempts.ts";
import { addressOf, assertFromOurPage, isOverTls, newCsrfToken, readCookie } from "./form-guard.ts";
import { formAction, resultPage, urlLoginPage } from "./login-page.ts";
import { sendPage, sendRedirect, type Visit } from "./page-answers.ts";

const loginCookie = "__Host-sprites-login";

export interface UrlLoginDoorOptions extends JudgeOptions {
  sessions: UrlSessions;
  codes: LoginCodes;
  failures: FailedAttempts;
  urlDomain: string;
}

/** What a visitor wants to open. */
interface Wanted {
  organization: Organization;
  sprite: SpriteRecord;
  hostName: string;
  /** With the port of this very request, as the only one known to be ours. */
  origin: string;
  nonce: string;
  path: string;
}

export class UrlLoginDoor {
  readonly #options: UrlLoginDoorOptions;

  constructor(options: UrlLoginDoorOptions) {
    this.#options = options;
  }

  /** @throws SpriteError */
  async answer(visit: Visit): Promise<void> {
    const { exchange, request, response, expectsContinue } = visit;
    assertMethodAllowed(exchange.method, ["GET", "HEAD", "POST"]);
    // A code and the cookies are for TLS alone.
    if (!isOverTls(request)) throw new SpriteError("not_found", "no such endpoint");
    if (exchange.method === "POST") {
      return this.#settle(visit, await readFormBody(request, response, expectsContinue));
    }
    const wanted = this.#wanted(visit, exchange.target.query);
    if (wanted === null) return this.#sendUnknown(visit);
    const session = readCookie(request, loginCookie);
    const known = session === null ? null : this.#options.sessions.find(session, null);
    if (known !== null && mayOpen(known, wanted)) return this.#sendBack(visit, wanted, known, []);
    this.#sendForm(visit, wanted, { status: 200, csrfToken: newCsrfToken() });
  }

  #settle(visit: Visit, form: URLSearchParams): void {
    const csrfToken = assertFromOurPage(visit.request, form);
    const wanted = this.#wanted(visit, form);
    if (wanted === null) return this.#sendUnknown(visit);
    const { failures, sessions } = this.#options;
    const address = addressOf(visit.request);
    failures.assertAllowed(address);
    const { organization, sprite } = wanted;
    const credential = (form.get("credential") ?? "").trim();
    const shown = { credential, organization: organization.record.slug };
    const verdict = judgeCredential(this.#options, shown);
    if ("problem" in verdict) {
      if (verdict.isWrong) failures.note(address);
      const problem = verdict.isWrong ? verdict.problem : "This does not open the address.";
      return this.#sendForm(visit, wanted, { status: 403, csrfToken, problem });
    }
    if (sprite.urlSettings.private_access === "admins" && verdict.role !== "admin") {
      const problem = "The address is for admins of its organization only.";
      return this.#sendForm(visit, wanted, { status: 403, csrfToken, problem });
    }
    const { session, loginId } = sessions.logIn(organization, verdict.credential);
    const seconds = urlLoginLifetimeMs / 1000;
    const rules = `Path=/; Max-Age=${seconds}; Secure; HttpOnly; SameSite=Lax`;
    this.#sendBack(visit, wanted, { loginId }, [`${loginCookie}=${session}; ${rules}`]);
  }

  /** Null when it names no sprite of ours. */
  #wanted(visit: Visit, fields: URLSearchParams): Wanted | null {
    const { urlDomain, organizations } = this.#options;
    const hostName = fields.get("host") ?? "";
    const nonce = fields.get("nonce") ?? "";
    const found = spriteAtHost(organizations, { hostName, urlDomain });
    if (found === null || !/^[\w-]{1,100}$/.test(nonce)) return null;
    const port = /:\d{1,5}$/.exec(visit.request.headers.host ?? "")?.[0] ?? "";
    const origin = `https://${hostName}${port}`;
    const path = localPath(fields.get("path") ?? "/");
    return { ...found, hostName, origin, nonce, path };
  }

  #sendUnknown(visit: Visit): void {
    const text = "There is no sprite at this address.";
    sendPage(visit, { status: 404, page: resultPage({ title: "No such sprite", text }) });
  }

  #sendForm(
    visit: Visit,
    wanted: Wanted,
    shown: { status: number; csrfToken: string; problem?: string },
  ): void {
    const { hostName, nonce, path, origin } = wanted;
    const { status, csrfToken, problem } = shown;
    const page = urlLoginPage({ hostName, nonce, path, csrfToken, problem });
    sendPage(visit, { status, page, csrfToken, headers: formAction(origin) });
  }

  #sendBack(
    visit: Visit,
    wanted: Wanted,
    login: Pick<LoggedIn, "loginId">,
    cookies: string[],
  ): void {
    const { organization, hostName, origin, nonce, path } = wanted;
    const { loginId } = login;
    const code = this.#options.codes.issue({ organization, loginId, hostName, nonce, path });
    sendRedirect(visit, `${origin}/.sprite-login?code=${code}`, cookies);
  }
}

function mayOpen(login: LoggedIn, { organization, sprite }: Wanted): boolean {
  if (login.organization !== organization) return false;
  return login.isAdmin || sprite.urlSettings.private_access !== "admins";
}

/** A path on the sprite's own host and nothing that a browser would take for another one. */
export function localPath(text: string): string {
  const isLocal = /^\/(?![/\\])[\x21-\x7e]*$/.test(text) && !text.includes("\\");
  return isLocal && text.length <= returnPathLengthMax ? text : "/";
}
