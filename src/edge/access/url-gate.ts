/**
 * Who may open a sprite's URL: everybody, if it is public; else whoever brings a token of its
 * organization, or a browser session that a login on the server's own page ended in.
 */
import { randomBytes } from "node:crypto";

import type { GateAnswer, GateDecision, Gatekeeper, GateRequest } from "../gatekeeper.ts";
import { nonceLifetimeMs, nonceSizeBytes, returnPathLengthMax } from "./limits.ts";
import { clearCookie, nonceCookie, ourCookies, readCookie } from "./cookies.ts";
import { sessionCookie, setCookie } from "./cookies.ts";
import { loggedOutPage, logoutPage, redirect, refuse, type Refusal } from "./gate-answers.ts";
import { comesFromOwnPages, isBrowsing } from "./request-site.ts";
import type { UrlAccess, Visitor } from "./url-access.ts";

/** Paths on every sprite's host that are the edge's: what is inside never sees them. */
const loginPath = "/.sprite-login";
const logoutPath = "/.sprite-logout";

const refusals = {
  notFound: {
    code: "not_found",
    message: "there is no sprite at this address",
    title: "No such sprite",
    text: "There is no sprite at this address. <code>sprite list</code> shows those there are.",
  },
  unauthorized: {
    code: "unauthorized",
    message: "invalid or missing token",
    title: "Not logged in",
    text: "This address is open to members of its organization only.",
  },
  admins: {
    code: "forbidden",
    message: "this address is for the organization's admins",
    title: "For admins",
    text: "This address is open to admins of its organization only.",
  },
  otherSite: {
    code: "forbidden",
    message: "another site's page may not use your login here; bring a token",
    title: "From another site",
    text: "A page of another site tried to use your login here. Open the address itself.",
  },
  lostLogin: {
    code: "forbidden",
    message: "this login has expired, was used, or began in another browser",
    title: "The login did not work",
    text: `It has expired, was used before, or began in another browser. <a href="/">Try again</a>`,
  },
  method: {
    code: "method_not_allowed",
    message: "allowed here: GET, POST",
    title: "Not like this",
    text: "This address is for logging out.",
  },
} as const satisfies Record<string, Refusal>;

export interface UrlGateOptions {
  access: UrlAccess;
  /** Below which all sprites' hosts are. */
  domain: string;
}

export class UrlGate implements Gatekeeper {
  readonly #access: UrlAccess;
  readonly #domain: string;

  constructor(options: UrlGateOptions) {
    this.#access = options.access;
    this.#domain = options.domain;
  }

  admit(request: GateRequest): GateDecision {
    const { sprite, headers } = request;
    if (sprite === null) return answered(refuseTo(request, refusals.notFound));
    const path = request.path.split("?")[0] ?? "";
    if (path === loginPath) return answered(this.#login(request));
    if (path === logoutPath) return answered(this.#logout(request));
    const { authorization } = headers;
    const isToken = authorization !== undefined && this.#access.isToken(authorization);
    const strip = { authorization: isToken, cookies: ourCookies };
    if (sprite.urlSettings.auth === "public") return { admitted: true, strip };
    const byToken = isToken ? this.#access.visitorByToken(authorization) : null;
    if (byToken !== null) return this.#judge(request, byToken, strip);
    const session = readCookie(headers.cookie, sessionCookie);
    const bySession =
      session === null ? null : this.#access.visitorBySession(session, hostNameOf(request));
    // A token that is not valid is no reason to look no further: it may be one for what is inside.
    if (bySession === null) return answered(this.#askForLogin(request));
    if (!comesFromOwnPages(request)) return answered(refuseTo(request, refusals.otherSite));
    return this.#judge(request, bySession, strip);
  }

  #judge(
    request: GateRequest,
    visitor: Visitor,
    strip: { authorization: boolean; cookies: readonly string[] },
  ): GateDecision {
    const { sprite } = request;
    // Whether there is a sprite of that name is not for another organization to know.
    if (visitor.organizationSlug !== sprite?.organizationSlug) {
      return answered(refuseTo(request, refusals.notFound));
    }
    if (sprite.urlSettings.private_access === "admins" && !visitor.isAdmin) {
      return answered(refuseTo(request, refusals.admins));
    }
    return { admitted: true, strip };
  }

  /** People go to the login page, which sends them back to `loginPath`; programs are told. */
  #askForLogin(request: GateRequest): GateAnswer {
    if (!isBrowsing(request)) return refuseTo(request, refusals.unauthorized);
    const nonce = randomBytes(nonceSizeBytes).toString("base64url");
    const port = /:\d+$/.exec(request.host)?.[0] ?? "";
    const wanted = request.path.length > returnPathLengthMax ? "/" : request.path;
    const query = new URLSearchParams({ host: hostNameOf(request), nonce, path: wanted });
    const page = `https://api.${this.#domain}${port}/login/url?${query.toString()}`;
    return redirect(page, [setCookie(nonceCookie, nonce, nonceLifetimeMs)]);
  }

  #login(request: GateRequest): GateAnswer {
    const query = new URLSearchParams(request.path.slice(loginPath.length));
    const nonce = readCookie(request.headers.cookie, nonceCookie) ?? "";
    const hostName = hostNameOf(request);
    const login = this.#access.redeem(query.get("code") ?? "", { hostName, nonce });
    if (login === null) return refuseTo(request, refusals.lostLogin);
    const { session, lifetimeMs, path } = login;
    const cookies = [setCookie(sessionCookie, session, lifetimeMs), clearCookie(nonceCookie)];
    return redirect(path, cookies);
  }

  #logout(request: GateRequest): GateAnswer {
    const { method } = request;
    if (method === "GET" || method === "HEAD") return logoutPage(logoutPath);
    if (method !== "POST") return refuseTo(request, refusals.method);
    if (!comesFromOwnPages(request)) return refuseTo(request, refusals.otherSite);
    const session = readCookie(request.headers.cookie, sessionCookie);
    if (session !== null) this.#access.endSession(session, hostNameOf(request));
    return loggedOutPage(ourCookies.map(clearCookie));
  }
}

function answered(answer: GateAnswer): GateDecision {
  return { admitted: false, answer };
}

function refuseTo(request: GateRequest, refusal: Refusal): GateAnswer {
  return refuse(refusal, { asPage: isBrowsing(request) });
}

function hostNameOf({ host }: GateRequest): string {
  return host.replace(/:\d+$/, "");
}
