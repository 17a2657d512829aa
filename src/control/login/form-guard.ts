/** That a form was filled in on a page of ours, and what a request says of the browser. */
import { randomBytes } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { TLSSocket } from "node:tls";

import { SpriteError } from "../../contract/errors.ts";
import { secretsEqual } from "../tokens.ts";

const csrfSizeBytes = 24;

export function isOverTls(request: IncomingMessage): boolean {
  return (
    request.socket instanceof TLSSocket ||
    // Of HTTP/2 the socket is a stand-in that has its properties.
    ("encrypted" in request.socket && request.socket.encrypted === true) ||
    request.headers["x-forwarded-proto"] === "https"
  );
}

export function addressOf(request: IncomingMessage): string {
  return request.socket.remoteAddress ?? "an unknown address";
}

export function newCsrfToken(): string {
  return randomBytes(csrfSizeBytes).toString("base64url");
}

/** By its prefix no sibling of the host can set it, which only TLS allows. */
function csrfCookie(request: IncomingMessage): string {
  return isOverTls(request) ? "__Host-sprites-form" : "sprites_login";
}

/** The `Set-Cookie` that goes with a page whose form has the token. */
export function setCsrfCookie(request: IncomingMessage, csrfToken: string): string {
  const where = isOverTls(request) ? "Path=/; Secure" : "Path=/login";
  return `${csrfCookie(request)}=${csrfToken}; ${where}; HttpOnly; SameSite=Strict`;
}

/**
 * The form must come from a page of ours in the same browser: its cookie and its field are the same
 * random text, and the browser names no other site. Returns that text. @throws SpriteError forbidden
 */
export function assertFromOurPage(request: IncomingMessage, form: URLSearchParams): string {
  const { origin } = request.headers;
  // Behind a proxy the browser knows us by another name. No other site can make a form say so.
  const host = request.headers["x-forwarded-host"] ?? request.headers.host;
  const site = request.headers["sec-fetch-site"];
  const cookie = readCookie(request, csrfCookie(request));
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

export function readCookie(request: IncomingMessage, name: string): string | null {
  for (const pair of (request.headers.cookie ?? "").split(";")) {
    const separator = pair.indexOf("=");
    if (pair.slice(0, separator).trim() === name) return pair.slice(separator + 1).trim();
  }
  return null;
}
