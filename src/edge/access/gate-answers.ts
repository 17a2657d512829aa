/** What the gatekeeper answers itself: JSON for programs, a page without script for people. */
import { createHash } from "node:crypto";

import { errorResponse, SpriteError, type ErrorCode } from "../../contract/errors.ts";
import type { GateAnswer } from "../gatekeeper.ts";

const style = `
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 30rem; margin: 4rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; }
button { padding: .5rem 1.2rem; font: inherit; }
`;
const styleHash = createHash("sha256").update(style).digest("base64");

/** Nothing of the gate is kept by anybody, or tells where it led. */
const gateHeaders = {
  "cache-control": "no-store",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
} as const;

const pageHeaders = {
  ...gateHeaders,
  "content-type": "text/html; charset=utf-8",
  "content-security-policy":
    `default-src 'none'; style-src 'sha256-${styleHash}'; form-action 'self'; ` +
    "frame-ancestors 'none'; base-uri 'none'",
} as const;

export interface Refusal {
  code: ErrorCode;
  message: string;
  /** What a person reads: HTML of ours. */
  title: string;
  text: string;
}

export function refuse(refusal: Refusal, options: { asPage: boolean }): GateAnswer {
  const { code, message, title, text } = refusal;
  const { status, body } = errorResponse(new SpriteError(code, message));
  const challenge = code === "unauthorized" ? { "www-authenticate": "Bearer" } : {};
  if (options.asPage) {
    const page = pageOf(`<h1>${title}</h1><p>${text}</p>`);
    return { status, headers: { ...pageHeaders, ...challenge }, body: page };
  }
  const headers = { ...gateHeaders, ...challenge, "content-type": "application/json" };
  return { status, headers, body: JSON.stringify(body) };
}

export function redirect(location: string, cookies: readonly string[]): GateAnswer {
  const headers = { ...gateHeaders, location, "set-cookie": cookies };
  return { status: 303, headers, body: "" };
}

/** @param path where the button's form is sent */
export function logoutPage(path: string): GateAnswer {
  const page = pageOf(
    `<h1>Log out?</h1><p>This ends the login to all sprites that this browser has open.</p>` +
      `<form method="post" action="${path}"><button>Log out</button></form>`,
  );
  return { status: 200, headers: pageHeaders, body: page };
}

export function loggedOutPage(cookies: readonly string[]): GateAnswer {
  const page = pageOf("<h1>Logged out</h1><p>You can close this page.</p>");
  return { status: 200, headers: { ...pageHeaders, "set-cookie": cookies }, body: page };
}

function pageOf(body: string): string {
  return (
    `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>OpenSprites</title>` +
    `<meta name="viewport" content="width=device-width"><style>${style}</style></head>` +
    `<body>${body}</body></html>\n`
  );
}
