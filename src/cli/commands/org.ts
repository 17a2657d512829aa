import type { Cli } from "../cli.ts";
import { UserConfig } from "../config.ts";
import { anonymousClient } from "../device-login.ts";
import { CliError } from "../errors.ts";
import { Keyring } from "../keyring.ts";
import { ask } from "../question.ts";
import { adminSecret } from "../secret-input.ts";
import { placeText, revokeToken, storeToken } from "../stored-token.ts";
import { checkedToken, resolveApiUrl, resolveOrg, resolveTarget } from "../target.ts";
import { formatTable, printable } from "../text.ts";

interface KnownOrg {
  name: string;
  url: string;
  isCurrent: boolean;
  place: "keyring" | "file";
}

export async function list(cli: Cli): Promise<number> {
  const orgs = knownOrgs(cli);
  if (cli.isJson) {
    cli.printJson(
      orgs.map(({ name, url, isCurrent, place }) => ({ name, url, current: isCurrent, place })),
    );
  } else if (orgs.length === 0) {
    cli.note("No token is stored. To get one:  sprite login\n");
  } else {
    const rows = orgs.map(({ name, url, isCurrent, place }) => [
      isCurrent ? "*" : "",
      printable(name),
      printable(url),
      place,
    ]);
    cli.print(formatTable(["", "NAME", "SERVER", "TOKEN IN"], rows));
  }
  return 0;
}

export async function use(cli: Cli, args: readonly string[]): Promise<number> {
  const [name = ""] = args;
  const config = UserConfig.load(cli.home);
  const currentUrl = resolveApiUrl(cli.surroundings.env, config);
  const matching = knownOrgs(cli).filter((org) => org.name === name);
  // The same name may be known at several servers: the one in use comes first.
  const found = matching.find(({ url }) => url === currentUrl) ?? matching[0];
  if (found === undefined) {
    throw new CliError(`no token of an organization ${JSON.stringify(name)} is stored`, {
      code: "not_found",
      hint: "`sprite org list` shows those there are; `sprite login` gets one.",
    });
  }
  config.select(found.url, found.name);
  config.save();
  if (cli.isJson) cli.printJson({ name: found.name, url: found.url });
  else cli.print(`Commands that name no organization now mean ${found.name} at ${found.url}.\n`);
  return 0;
}

/** Makes the organization by minting its first token with the server's admin secret. */
export async function create(cli: Cli, args: readonly string[]): Promise<number> {
  const [name = ""] = args;
  const { env } = cli.surroundings;
  const url = resolveApiUrl(env, UserConfig.load(cli.home));
  const token = await mintToken(cli, { url, org: name, description: "sprite org create" });
  const stored = storeToken(cli, { url, org: name, token });
  if (cli.isJson) cli.printJson({ name, url, place: stored.place, path: stored.path });
  else cli.print(`Commands now act for ${name} at ${url}. The token is in ${placeText(stored)}.\n`);
  return 0;
}

/** `POST /v1/organizations/{org}/tokens` (contract.md section 1.2), with the admin secret. */
export async function mintToken(
  cli: Cli,
  wanted: { url: string; org: string; description: string; role?: string | undefined },
): Promise<string> {
  const { url, org, description, role } = wanted;
  const secret = await adminSecret(cli);
  const path = `/v1/organizations/${encodeURIComponent(org)}/tokens`;
  const headers = { Authorization: `FlyV1 ${secret}` };
  try {
    const answer = await cli.spin(`Asking ${url}`, () =>
      anonymousClient(cli, url).json<{ token: string }>("POST", path, {
        headers,
        body: { description, ...(role === undefined ? {} : { role }) },
      }),
    );
    return checkedToken(answer.token);
  } catch (error) {
    if (!(error instanceof CliError) || (error.status !== 401 && error.status !== 403)) throw error;
    throw new CliError(`${url} does not take this admin secret`, {
      code: error.code,
      status: error.status,
      hint: "It is in the file that the server was started with: --admin-secret-file FILE",
    });
  }
}

export async function logout(cli: Cli): Promise<number> {
  const { env, directory } = cli.surroundings;
  const sources = { env, directory, home: cli.home, orgOption: cli.options.org };
  const config = UserConfig.load(cli.home);
  const url = resolveApiUrl(env, config);
  const org = resolveOrg(sources, config, url);
  if (org === undefined || !config.orgs(url).some(({ name }) => name === org)) {
    throw new CliError(`no token${org === undefined ? "" : ` of ${org}`} is stored for ${url}`, {
      code: "not_found",
      hint: "`sprite org list` shows those there are; -o names one.",
    });
  }
  if (cli.options.force !== true) {
    if (!cli.isInteractive) {
      throw new CliError(`forgetting the token of ${org} needs a new login afterwards`, {
        code: "confirmation_required",
        hint: "Nobody is here to ask, so say it: sprite org logout --force",
      });
    }
    const answer = await ask(`Forget the token of ${printable(org)} at ${url}? [y/N] `);
    if (!/^y(es)?$/i.test(answer)) {
      cli.note("Nothing was forgotten.\n");
      return 1;
    }
  }
  if (cli.options.revoke === true) {
    await revokeToken(cli, resolveTarget({ ...sources, orgOption: org }));
  }
  config.removeToken({ url, org }, new Keyring(env));
  config.save();
  if (cli.isJson) cli.printJson({ name: org, url, forgotten: true });
  else cli.print(`Forgot the token of ${org} at ${url}.\n`);
  return 0;
}

function knownOrgs(cli: Cli): KnownOrg[] {
  const { env, directory } = cli.surroundings;
  const config = UserConfig.load(cli.home);
  const url = resolveApiUrl(env, config);
  const sources = { env, directory, home: cli.home, orgOption: cli.options.org };
  const current = resolveOrg(sources, config, url);
  return config.urls().flatMap((at) =>
    config.orgs(at).map(({ name, keyringKey }) => ({
      name,
      url: at,
      isCurrent: at === url && name === current,
      place: keyringKey === undefined ? ("file" as const) : ("keyring" as const),
    })),
  );
}
