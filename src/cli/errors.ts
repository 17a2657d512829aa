/** What the client says when something did not work: what happened, and what to do next. */
export interface CliErrorOptions {
  /** Stable code for `--json`; the server's own code when it gave one. */
  code?: string;
  /** What the user can do about it: whole sentences or commands, one a line. */
  hint?: string;
  exitCode?: number;
  status?: number;
  details?: Readonly<Record<string, unknown>>;
  cause?: unknown;
}

export class CliError extends Error {
  override readonly name = "CliError";
  readonly code: string;
  readonly hint: string | undefined;
  readonly exitCode: number;
  readonly status: number | undefined;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(message: string, options: CliErrorOptions = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.code = options.code ?? "error";
    this.hint = options.hint;
    this.exitCode = options.exitCode ?? 1;
    this.status = options.status;
    this.details = options.details ?? {};
  }
}

/** The local terminal or pipe went away: the command ends without a word, like any Unix tool. */
export class BrokenPipeError extends Error {
  override readonly name = "BrokenPipeError";
}

/** 128 + SIGPIPE: what a shell sees of a program whose reader has gone. */
export const exitCodeBrokenPipe = 141;
/** The command line names a command that this client does not have (contract.md section 11). */
export const exitCodeUnknownCommand = 2;

/** The words for stderr: a person reads sentences, a program one JSON object. */
export function formatError(error: unknown, json: boolean): string {
  const shown = error instanceof CliError ? error : unexpected(error);
  if (json) {
    const body: Record<string, unknown> = {
      ...shown.details,
      error: shown.code,
      message: shown.message,
    };
    if (shown.status !== undefined) body["status"] = shown.status;
    if (shown.hint !== undefined) body["hint"] = shown.hint;
    return `${JSON.stringify(body)}\n`;
  }
  const hint = shown.hint === undefined ? "" : `${indent(shown.hint)}\n`;
  return `sprite: ${shown.message}\n${hint}`;
}

function unexpected(error: unknown): CliError {
  const message = error instanceof Error ? error.message : String(error);
  return new CliError(`unexpected failure: ${message}`, {
    code: "internal_error",
    hint: "This is a bug of the client. SPRITE_DEBUG=1 prints where it happened.",
    cause: error,
  });
}

function indent(text: string): string {
  return text
    .split("\n")
    .map((line) => `  ${line}`)
    .join("\n");
}
