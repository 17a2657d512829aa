import type { IncomingMessage, ServerResponse } from "node:http";

import type { Exchange } from "../exchange.ts";
import { setCsrfCookie } from "./form-guard.ts";
import { pageHeaders } from "./login-page.ts";

export interface Visit {
  exchange: Exchange;
  request: IncomingMessage;
  response: ServerResponse;
  expectsContinue: boolean;
}

type Headers = Readonly<Record<string, string | string[]>>;

/** @param csrfToken of the page's form; absent: it has none */
export function sendPage(
  visit: Visit,
  answer: { status: number; page: string; csrfToken?: string; headers?: Headers },
): void {
  const { status, page, csrfToken, headers } = answer;
  const cookie =
    csrfToken === undefined ? {} : { "set-cookie": setCsrfCookie(visit.request, csrfToken) };
  send(visit, { status, text: page, headers: { ...pageHeaders, ...cookie, ...headers } });
}

export function sendJson(visit: Visit, status: number, body: object): void {
  const headers = { "content-type": "application/json", "cache-control": "no-store" };
  send(visit, { status, text: JSON.stringify(body), headers });
}

/** To another page, which must not learn where the browser came from. */
export function sendRedirect(visit: Visit, location: string, cookies: string[]): void {
  const headers = { location, "cache-control": "no-store", "referrer-policy": "no-referrer" };
  send(visit, { status: 303, text: "", headers: { ...headers, "set-cookie": cookies } });
}

function send(visit: Visit, answer: { status: number; text: string; headers: Headers }): void {
  const { exchange, response } = visit;
  const { status, text, headers } = answer;
  const length = Buffer.byteLength(text);
  response.writeHead(status, { ...exchange.added, ...headers, "content-length": length });
  response.end(exchange.method === "HEAD" ? undefined : text);
}
