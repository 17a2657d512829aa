import { hostname, userInfo } from "node:os";
import type { DeviceLoginObject, DeviceTokenObject } from "../contract/login.ts";
import { ApiClient } from "./api-client.ts";
import type { Cli } from "./cli.ts";
import { CliError } from "./errors.ts";
import { loginClientLengthMax } from "../contract/limits.ts";
import { loginPollMsMin, slowDownMs } from "./limits.ts";
import { hasBrowser, openBrowser } from "./open-browser.ts";

export interface GrantedToken {
  token: string;
  org: string;
}

/** Gets a token by a person's approval on the server's own page. */
export async function deviceLogin(cli: Cli, url: string): Promise<GrantedToken> {
  const client = anonymousClient(cli, url);
  const login = await begin(client);
  await showAddress(cli, url, login);
  return await cli.spin("Waiting for somebody to approve", () => waitForToken(client, login));
}

/** A client of the server without a token. */
export function anonymousClient(cli: Cli, url: string): ApiClient {
  const target = { apiUrl: url, token: "", org: undefined, tokenSource: "stored" as const };
  return new ApiClient({ ...target, isVariableIgnored: false }, cli.userAgent);
}

async function begin(client: ApiClient): Promise<DeviceLoginObject> {
  try {
    const body = { client: thisClient() };
    return await client.json<DeviceLoginObject>("POST", "/login/device", { body });
  } catch (error) {
    if (!(error instanceof CliError) || (error.status !== 404 && error.status !== 401)) throw error;
    throw new CliError(`${client.target.apiUrl} offers no login of this kind`, {
      code: "no_login",
      status: error.status,
      hint: "Get a token from whoever runs it, and store it:  sprite login --token TOKEN",
    });
  }
}

/** What the person who approves reads, and what the token is called later. */
function thisClient(): string {
  const text = `sprite of ${userInfo().username} on ${hostname()}`;
  return text.replace(/[^\u0020-\u007e]/g, "?").slice(0, loginClientLengthMax);
}

/** Built on the address that we use ourselves, whatever the server believes its own to be. */
async function showAddress(cli: Cli, url: string, login: DeviceLoginObject): Promise<void> {
  const code = login.user_code.replace(/[^A-Za-z0-9-]/g, "");
  const page = `${url}/login?user_code=${code}`;
  const { err, env } = cli.surroundings;
  if (cli.isJson) {
    const fields = {
      verification_uri_complete: page,
      user_code: code,
      expires_in: login.expires_in,
    };
    err.write(`${JSON.stringify(fields)}\n`);
    return;
  }
  const minutes = Math.round(login.expires_in / 60);
  err.write(
    `Open this address, and go on if it shows the code ${code}:\n\n  ${page}\n\n` +
      `It waits for ${minutes} minutes.\n`,
  );
  const opens = cli.options.browser !== false && cli.isInteractive && hasBrowser(env);
  if (opens) await openBrowser(page, env);
}

async function waitForToken(client: ApiClient, login: DeviceLoginObject): Promise<GrantedToken> {
  const endMs = performance.now() + login.expires_in * 1000;
  let intervalMs = Math.max(loginPollMsMin, login.interval * 1000);
  const body = { device_code: login.device_code };
  while (performance.now() < endMs) {
    await new Promise((resolve) => setTimeout(resolve, intervalMs));
    try {
      const granted = await client.json<DeviceTokenObject>("POST", "/login/device/token", { body });
      return { token: granted.token, org: granted.organization };
    } catch (error) {
      if (!(error instanceof CliError)) throw error;
      if (error.code === "slow_down") intervalMs += slowDownMs;
      // A server that is away for a moment does not end the wait.
      const goesOn = ["authorization_pending", "slow_down", "unreachable", "rate_limited"];
      if (!goesOn.includes(error.code)) throw explain(error);
    }
  }
  throw explain(new CliError("the login has expired", { code: "expired_token" }));
}

function explain(error: CliError): CliError {
  if (error.code === "access_denied") {
    return new CliError("the login was refused", { code: error.code, status: 400 });
  }
  if (error.code !== "expired_token") return error;
  const message = "nobody approved the login in time";
  return new CliError(message, { code: error.code, hint: "To try again:  sprite login" });
}
