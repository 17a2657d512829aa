/** What `login`, `auth setup` and `org create` share: a token is tried, then stored. */
import { ApiClient } from "./api-client.ts";
import type { SpritePage } from "./api-types.ts";
import type { Cli } from "./cli.ts";
import { UserConfig } from "./config.ts";
import { CliError } from "./errors.ts";
import { Keyring } from "./keyring.ts";
import { orgOfToken, tokenHint, type Target } from "./target.ts";

const fallbackOrg = "default";

export interface StoredToken {
  url: string;
  org: string;
  place: "keyring" | "file";
  path: string;
}

export function storeToken(
  cli: Cli,
  given: { url: string; org: string; token: string },
): StoredToken {
  const config = UserConfig.load(cli.home);
  config.setToken(given, new Keyring(cli.surroundings.env));
  config.save();
  const { url, org } = given;
  const stored = config.orgs(url).find(({ name }) => name === org);
  const place = stored?.keyringKey === undefined ? "file" : "keyring";
  return { url, org, place, path: config.path };
}

export function placeText(stored: StoredToken): string {
  return stored.place === "keyring" ? "the keyring" : stored.path;
}

/** Tries a token, stores it for its organization, and says so. @throws CliError when it is refused */
export async function adoptToken(
  cli: Cli,
  candidate: { url: string; token: string },
): Promise<number> {
  const { url, token } = candidate;
  const server = await cli.spin(`Asking ${url}`, () => askServer(cli, candidate));
  const org = orgOfToken(token) ?? cli.options.org ?? server.name ?? fallbackOrg;
  const stored = storeToken(cli, { url, org, token });
  if (!server.wasReached) {
    cli.note(`No server answers at ${url} now, so the token could not be tried.\n`);
  }
  if (cli.isJson) {
    const { place, path } = stored;
    cli.printJson({ url, org, verified: server.wasReached, place, path });
  } else cli.print(`Stored the token for ${org} at ${url} in ${placeText(stored)}\n`);
  return 0;
}

/** Ends a token at its server. One that is not valid there any more has ended. */
export async function revokeToken(cli: Cli, target: Target): Promise<void> {
  const org = orgOfToken(target.token) ?? target.org ?? "";
  const client = new ApiClient(target, cli.userAgent);
  const path = `/v1/organizations/${encodeURIComponent(org)}/tokens/current`;
  try {
    await client.json<unknown>("DELETE", path);
  } catch (error) {
    if (error instanceof CliError && error.status === 401) return;
    throw error;
  }
}

/** A refused token is never stored; a server that is away does not keep one from being stored. */
async function askServer(
  cli: Cli,
  candidate: { url: string; token: string },
): Promise<{ wasReached: boolean; name: string | undefined }> {
  const client = new ApiClient(
    {
      apiUrl: candidate.url,
      token: candidate.token,
      org: orgOfToken(candidate.token),
      tokenSource: "stored",
      isVariableIgnored: false,
    },
    cli.userAgent,
  );
  try {
    const query = [["max_results", "1"]] as const;
    const page = await client.json<SpritePage>("GET", "/v1/sprites", { query, timeoutMs: 10_000 });
    return { wasReached: true, name: page.org?.name ?? page.name };
  } catch (error) {
    if (error instanceof CliError && error.code === "unreachable") {
      return { wasReached: false, name: undefined };
    }
    if (error instanceof CliError && error.status === 401) {
      throw new CliError(`${candidate.url} refused the token; it was not stored`, {
        code: "unauthorized",
        status: 401,
        hint: tokenHint,
      });
    }
    throw error;
  }
}
