import type { TokenListObject } from "../../contract/token.ts";
import type { Cli } from "../cli.ts";
import { UserConfig } from "../config.ts";
import { CliError } from "../errors.ts";
import { orgOfToken, resolveApiUrl, resolveOrg } from "../target.ts";
import { formatTable, printable, relativeTime } from "../text.ts";
import { mintToken } from "./org.ts";

export async function list(cli: Cli): Promise<number> {
  const answer = await cli.spin("Listing tokens", () =>
    cli.client.json<TokenListObject>("GET", tokensPath(cli)),
  );
  if (cli.isJson) {
    cli.printJson(answer.tokens);
    return 0;
  }
  const now = new Date();
  const rows = answer.tokens.map((token) => [
    token.is_current ? "*" : "",
    printable(token.id),
    relativeTime(token.created_at, now),
    token.last_used_at === null ? "never" : relativeTime(token.last_used_at, now),
    token.role,
    printable(token.description),
  ]);
  cli.print(formatTable(["", "ID", "CREATED", "LAST USED", "ROLE", "DESCRIPTION"], rows));
  return 0;
}

export async function create(cli: Cli): Promise<number> {
  const { env, directory } = cli.surroundings;
  const config = UserConfig.load(cli.home);
  const url = resolveApiUrl(env, config);
  const sources = { env, directory, home: cli.home, orgOption: cli.options.org };
  const org = resolveOrg(sources, config, url);
  if (org === undefined) {
    throw new CliError("no organization is chosen", {
      code: "usage",
      hint: "Name one with -o ORG",
    });
  }
  const description = cli.options.description ?? "";
  const token = await mintToken(cli, { url, org, description, role: cli.options.role });
  if (cli.isJson) cli.printJson({ organization: org, token });
  else cli.print(`${token}\n`);
  return 0;
}

export async function revoke(cli: Cli, args: readonly string[]): Promise<number> {
  const [id = ""] = args;
  const path = `${tokensPath(cli)}/${encodeURIComponent(id)}`;
  await cli.spin("Revoking", () => cli.client.json<unknown>("DELETE", path));
  if (cli.isJson) cli.printJson({ id, revoked: true });
  else cli.print(`Token ${printable(id)} is not valid any more.\n`);
  return 0;
}

/** Of the organization that the token itself names; an opaque one's is configured. */
function tokensPath(cli: Cli): string {
  const { token, org } = cli.client.target;
  const name = orgOfToken(token) ?? org;
  if (name !== undefined) return `/v1/organizations/${encodeURIComponent(name)}/tokens`;
  throw new CliError("no organization is chosen", { code: "usage", hint: "Name one with -o ORG" });
}
