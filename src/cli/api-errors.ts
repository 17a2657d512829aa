import type { IncomingHttpHeaders } from "node:http";
import { CliError } from "./errors.ts";
import { printable } from "./text.ts";
import { defaultApiUrl, tokenHint, type Target } from "./target.ts";

/** Turns an error answer (contract.md section 14.1) into words and a next step. */
export function apiError(answer: {
  status: number;
  body: string;
  headers: IncomingHttpHeaders;
  target: Target;
}): CliError {
  const fields = parseFields(answer.body);
  const code = codeOf(fields) ?? `http_${answer.status}`;
  const message = messageOf(fields, answer);
  const hint = hintFor(answer, fields);
  const { error: _error, message: _message, code: _code, ...details } = fields;
  return new CliError(message, {
    code,
    status: answer.status,
    details,
    ...(hint === undefined ? {} : { hint }),
  });
}

/** Words for a connection that could not be made or broke before the answer. */
export function connectionError(cause: Error, target: Target): CliError {
  const code = "code" in cause ? String(cause.code) : "";
  const isLocal = target.apiUrl === defaultApiUrl;
  if (code === "ECONNREFUSED") {
    return new CliError(`no server answers at ${target.apiUrl}`, {
      code: "unreachable",
      hint: isLocal
        ? "Start one with `make up` (or bin/spritesd serve), or set SPRITES_API_URL to another."
        : "Is it running? SPRITES_API_URL or `sprite auth setup` decides which server is used.",
      cause,
    });
  }
  if (code === "ENOTFOUND" || code === "EAI_AGAIN") {
    return new CliError(`the host name of ${target.apiUrl} is not known`, {
      code: "unreachable",
      hint: "Look for a typing error in SPRITES_API_URL, or whether the network is there.",
      cause,
    });
  }
  return new CliError(`talk to ${target.apiUrl}: ${printable(cause.message)}`, {
    code: "unreachable",
    cause,
  });
}

function parseFields(body: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(body);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      return value as Record<string, unknown>;
    }
  } catch {
    // Not JSON: the text itself is the message.
  }
  return {};
}

/** `error` is the code, except in answers about files, where it is the text (contract.md section 7.7). */
function codeOf(fields: Record<string, unknown>): string | undefined {
  const { code, error } = fields;
  if (typeof code === "string" && /^E[A-Z0-9]+$/.test(code)) return code;
  return typeof error === "string" && error !== "" ? error : undefined;
}

function messageOf(
  fields: Record<string, unknown>,
  answer: { status: number; body: string },
): string {
  for (const key of ["message", "error"]) {
    const text = fields[key];
    if (typeof text === "string" && text !== "") return printable(text);
  }
  const isPage = /^\s*</.test(answer.body);
  if (answer.body !== "" && !isPage) return printable(answer.body.slice(0, 500));
  return `the server answered with status ${answer.status}`;
}

function hintFor(
  answer: { status: number; headers: IncomingHttpHeaders; target: Target },
  fields: Record<string, unknown>,
): string | undefined {
  if (answer.status === 401) {
    const used =
      answer.target.tokenSource === "stored"
        ? `The token stored for ${answer.target.org ?? "this server"} was refused.`
        : "The token in SPRITE_TOKEN was refused.";
    const ignored = answer.target.isVariableIgnored
      ? "SPRITE_TOKEN counts only where no token is stored: `sprite logout` forgets the stored ones.\n"
      : "";
    return `${used}\n${ignored}${tokenHint}`;
  }
  if (answer.status === 429 || answer.status === 503) {
    const seconds = Number(fields["retry_after_seconds"] ?? answer.headers["retry-after"]);
    return seconds > 0 ? `Try again in ${Math.ceil(seconds)} s.` : "Try again in a moment.";
  }
  return undefined;
}
