/** What the edge itself answers: a page for people, JSON for programs. */
import type { IncomingHttpHeaders } from "node:http";

import { errorResponse, SpriteError } from "../contract/errors.ts";

export interface EdgeAnswer {
  status: number;
  headers: readonly string[];
  body: Buffer;
}

export function errorAnswer(error: unknown, request: { headers: IncomingHttpHeaders }): EdgeAnswer {
  const { status, body } = errorResponse(error);
  const isPage = (request.headers.accept ?? "").includes("text/html");
  const bytes = Buffer.from(isPage ? page(status, error) : `${JSON.stringify(body)}\n`);
  const headers = ["content-type", isPage ? "text/html; charset=utf-8" : "application/json"];
  headers.push("content-length", String(bytes.length), "cache-control", "no-store");
  if (isPage)
    headers.push("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'");
  const retryAfter = retryAfterOf(error);
  if (retryAfter !== null) headers.push("retry-after", String(retryAfter));
  return { status, headers, body: bytes };
}

function retryAfterOf(error: unknown): number | null {
  if (!(error instanceof SpriteError)) return null;
  const { retry_after_seconds: seconds } = error.details;
  if (typeof seconds === "number") return seconds;
  return error.status === 503 ? 5 : null;
}

const titles: Readonly<Record<string, string>> = {
  not_found: "There is no sprite at this address",
  nothing_listening: "Nothing listens in this sprite",
  bad_gateway: "The sprite's web server broke off",
  start_failed: "The sprite does not start",
  unavailable: "The sprite is not there yet",
  misdirected_request: "This connection was for another host",
};

const advice: Readonly<Record<string, string>> = {
  not_found: "Look at <code>sprite list</code> and <code>sprite url NAME</code>.",
  nothing_listening:
    "Start a web server at port 8080, or say which one it is:<br>" +
    "<code>sprite services create web --cmd ./server --http-port 3000</code>",
  bad_gateway: "Its service's log may say why: <code>sprite services logs NAME</code>.",
  start_failed: "<code>sprite check NAME</code> says why.",
  unavailable: "Try again in a moment.",
};

function page(status: number, error: unknown): string {
  const { body } = errorResponse(error);
  const title = titles[body.error] ?? "This did not work";
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${title}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 40rem; margin: 15vh auto; padding: 0 1rem }
code { background: #8882; padding: .1em .3em }
</style>
<h1>${title}</h1>
<p>${escaped(body.message)}.</p>
<p>${advice[body.error] ?? ""}</p>
<p><small>${status} ${escaped(body.error)}</small></p>
</html>
`;
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
