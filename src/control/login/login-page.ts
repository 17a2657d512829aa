/** The pages of a login: plain HTML, no script, nothing from elsewhere. */

import { createHash } from "node:crypto";

const style = `
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 30rem; margin: 4rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; }
code { font: 1.6rem/1 ui-monospace, monospace; letter-spacing: .1em; }
label { display: block; margin: 1rem 0 .2rem; }
input { box-sizing: border-box; width: 100%; padding: .5rem; font: inherit; }
small { display: block; opacity: .75; }
button { margin: 1.5rem .5rem 0 0; padding: .5rem 1.2rem; font: inherit; }
p.problem { border-left: .3rem solid #c33; padding: .3rem .8rem; }
`;

const styleHash = createHash("sha256").update(style).digest("base64");

/** A page holds a form for a secret: nobody may frame it, script it, keep it, or learn where it led. */
export const pageHeaders: Readonly<Record<string, string>> = {
  "content-type": "text/html; charset=utf-8",
  "content-security-policy":
    `default-src 'none'; style-src 'sha256-${styleHash}'; form-action 'self'; ` +
    "frame-ancestors 'none'; base-uri 'none'",
  "x-frame-options": "DENY",
  "x-content-type-options": "nosniff",
  "referrer-policy": "same-origin",
  "cross-origin-opener-policy": "same-origin",
  "cache-control": "no-store",
};

/** Asks for the code that the terminal shows. */
export function codePage(options: { problem?: string | undefined }): string {
  return page(`
    <h1>Log in a command line</h1>
    ${problemText(options.problem)}
    <form method="get" action="/login">
      <label for="code">Code that <b>sprite login</b> shows</label>
      <input id="code" name="user_code" required autofocus autocomplete="off" maxlength="20">
      <button>Go on</button>
    </form>`);
}

export interface ApprovalPage {
  userCode: string;
  client: string;
  address: string;
  csrfToken: string;
  /** What was typed before, when the page is shown again. */
  organization: string;
  problem?: string | undefined;
}

/** Asks who says yes. */
export function approvalPage(options: ApprovalPage): string {
  const { userCode, client, address, csrfToken, organization } = options;
  return page(`
    <h1>Let this command line in?</h1>
    ${problemText(options.problem)}
    <p><code>${escape(userCode)}</code></p>
    <p>Asked for by <b>${escape(client)}</b> from ${escape(address)}.
      Go on only if you started it yourself, and your terminal shows this very code:
      it will act for the organization.</p>
    <form method="post" action="/login">
      <input type="hidden" name="user_code" value="${escape(userCode)}">
      <input type="hidden" name="csrf" value="${escape(csrfToken)}">
      <label for="credential">A token of the organization, or the server's admin secret</label>
      <input id="credential" name="credential" type="password" autofocus autocomplete="current-password">
      <small>Where the server runs: bin/spritesd token create --org NAME</small>
      <label for="organization">Organization</label>
      <input id="organization" name="organization" value="${escape(organization)}" autocomplete="organization">
      <small>Needed with the admin secret only; made if it is new</small>
      <button name="action" value="approve">Let it in</button>
      <button name="action" value="deny" formnovalidate>Refuse</button>
    </form>`);
}

export interface UrlLoginPage {
  hostName: string;
  nonce: string;
  path: string;
  csrfToken: string;
  problem?: string | undefined;
}

/** Asks whoever wants to open a sprite's URL who they are. */
export function urlLoginPage(options: UrlLoginPage): string {
  const { hostName, nonce, path, csrfToken, problem } = options;
  return page(`
    <h1>Log in to ${escape(hostName)}</h1>
    ${problemText(problem)}
    <p>This address is open to members of its organization. The login holds for the organization's other sprites too.</p>
    <form method="post" action="/login/url">
      <input type="hidden" name="host" value="${escape(hostName)}">
      <input type="hidden" name="nonce" value="${escape(nonce)}">
      <input type="hidden" name="path" value="${escape(path)}">
      <input type="hidden" name="csrf" value="${escape(csrfToken)}">
      <label for="credential">A token of the organization, or the server's admin secret</label>
      <input id="credential" name="credential" type="password" required autofocus autocomplete="current-password">
      <small>Where the server runs: bin/spritesd token create --org NAME</small>
      <button>Log in</button>
    </form>`);
}

/** For a page whose form ends in a redirect to another origin, which browsers count as its target. */
export function formAction(origin: string): Readonly<Record<string, string>> {
  const name = "content-security-policy";
  const policy = pageHeaders[name] ?? "";
  return { [name]: policy.replace("form-action 'self'", `form-action 'self' ${origin}`) };
}

export function resultPage(options: { title: string; text: string }): string {
  return page(`<h1>${escape(options.title)}</h1><p>${escape(options.text)}</p>`);
}

function page(body: string): string {
  return (
    `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>OpenSprites</title>` +
    `<meta name="viewport" content="width=device-width"><style>${style}</style></head>` +
    `<body>${body}</body></html>\n`
  );
}

function problemText(problem: string | undefined): string {
  return problem === undefined ? "" : `<p class="problem" role="alert">${escape(problem)}</p>`;
}

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? "");
}
