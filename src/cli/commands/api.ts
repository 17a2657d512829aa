import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { closeSync, openSync, rmSync, writeFileSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { spritePath, type Cli } from "../cli.ts";
import { CliError } from "../errors.ts";

/** `sprite api PATH -- CURL-OPTIONS`: curl with the right URL and our token. */
export async function api(cli: Cli, args: readonly string[]): Promise<number> {
  const [path = "", ...rest] = args;
  const curlOptions = rest[0] === "--" ? rest.slice(1) : rest;
  const url = cli.client.target.apiUrl + apiPath(cli, path);
  const fd = openSecret(`header = "Authorization: Bearer ${cli.client.target.token}"\n`);
  try {
    return await runCurl(["--silent", "--show-error", ...curlOptions, url], fd);
  } finally {
    closeSync(fd);
  }
}

/** `/v1` is put in front of a path, and with -s the sprite's own path. */
function apiPath(cli: Cli, path: string): string {
  const rooted = path.startsWith("/") ? path : `/${path}`;
  if (rooted === "/v1" || rooted.startsWith("/v1/")) return rooted;
  const { sprite } = cli.options;
  return `${sprite === undefined ? "/v1" : spritePath(sprite)}${rooted === "/" ? "" : rooted}`;
}

/**
 * A token among curl's arguments would be in everybody's `ps`. It is handed over in a file that
 * has no name any more when curl starts.
 */
function openSecret(content: string): number {
  const path = join(tmpdir(), `sprite-${randomBytes(12).toString("hex")}`);
  try {
    writeFileSync(path, content, { mode: 0o600, flag: "wx" });
    return openSync(path, "r");
  } catch (cause) {
    throw new CliError(`write in ${tmpdir()}`, { code: "local_error", cause });
  } finally {
    rmSync(path, { force: true });
  }
}

async function runCurl(args: readonly string[], secretFd: number): Promise<number> {
  const child = spawn("curl", ["--config", "/dev/fd/3", ...args], {
    stdio: ["inherit", "inherit", "inherit", secretFd],
  });
  return await new Promise((resolve, reject) => {
    child.on("error", (cause) => {
      const hint = "Install it, for example with: apt-get install curl";
      reject(new CliError("run curl: it is not there", { code: "no_curl", hint, cause }));
    });
    child.on("close", (code, signal) => {
      resolve(code ?? (signal === null ? 1 : 128 + constants.signals[signal]));
    });
  });
}
