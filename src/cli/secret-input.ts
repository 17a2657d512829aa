import type { Cli } from "./cli.ts";
import { CliError } from "./errors.ts";

const secretSizeBytesMax = 64 * 1024;

/** A secret as it was given: `-` reads it from stdin, which keeps it out of `ps` and the history. */
export async function secretOption(given: string): Promise<string> {
  return given === "-" ? await readStdin() : given;
}

/** The server's admin secret, from --admin-secret or SPRITES_ADMIN_SECRET. */
export async function adminSecret(cli: Cli): Promise<string> {
  const given = cli.options.adminSecret ?? cli.surroundings.env["SPRITES_ADMIN_SECRET"] ?? "";
  const secret = (await secretOption(given)).trim();
  if (/^[\u0021-\u007e]+$/.test(secret)) return secret;
  throw new CliError("the server's admin secret is missing", {
    code: "usage",
    hint: [
      "Give --admin-secret - and the secret on stdin, or set SPRITES_ADMIN_SECRET.",
      "The server has one if it was started with --admin-secret-file FILE.",
    ].join("\n"),
  });
}

async function readStdin(): Promise<string> {
  let text = "";
  for await (const chunk of process.stdin) {
    text += String(chunk);
    if (text.length > secretSizeBytesMax) break;
  }
  return text.trim();
}
