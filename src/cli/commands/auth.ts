import type { SpritePage } from "../api-types.ts";
import type { Cli } from "../cli.ts";
import { readDirectoryChoice, UserConfig } from "../config.ts";
import { CliError } from "../errors.ts";
import { Keyring } from "../keyring.ts";
import { secretOption } from "../secret-input.ts";
import { adoptToken, revokeToken } from "../stored-token.ts";
import { checkedToken, resolveApiUrl, resolveTarget, tokenHint } from "../target.ts";

/** `sprite auth setup --token T`: tries the token, then stores it for its organization. */
export async function setup(cli: Cli): Promise<number> {
  const given = cli.options.token;
  if (given === undefined) {
    throw new CliError("--token is missing", { code: "usage", hint: tokenHint });
  }
  const token = checkedToken(await secretOption(given));
  const url = resolveApiUrl(cli.surroundings.env, UserConfig.load(cli.home));
  return await adoptToken(cli, { url, token });
}

export async function status(cli: Cli): Promise<number> {
  const { env, directory } = cli.surroundings;
  const target = resolveTarget({ env, directory, home: cli.home, orgOption: cli.options.org });
  const page = await cli.client.json<SpritePage>("GET", "/v1/sprites", {
    query: [["max_results", "1"]],
  });
  const org = page.org?.name ?? page.name ?? target.org ?? null;
  const sprite = readDirectoryChoice(directory).sprite ?? null;
  const fields = { url: target.apiUrl, org, token: target.tokenSource, sprite };
  if (cli.isJson) cli.printJson(fields);
  else {
    const source = target.tokenSource === "stored" ? "stored token" : "token of SPRITE_TOKEN";
    cli.print(`${target.apiUrl} accepts the ${source} for ${org ?? "an unnamed organization"}.\n`);
  }
  return 0;
}

/** Forgets every token; with --revoke those that a server still knows are ended there first. */
export async function logout(cli: Cli): Promise<number> {
  const config = UserConfig.load(cli.home);
  const keyring = new Keyring(cli.surroundings.env);
  const stored = config
    .urls()
    .flatMap((url) => config.orgs(url).map(({ name }) => ({ apiUrl: url, org: name })));
  if (cli.options.revoke === true) {
    for (const { apiUrl, org } of stored) {
      const token = config.token(apiUrl, org, keyring);
      if (token === undefined) continue;
      const target = {
        apiUrl,
        org,
        token,
        tokenSource: "stored",
        isVariableIgnored: false,
      } as const;
      await revokeToken(cli, target);
    }
  }
  config.clear(keyring);
  config.save();
  const count = stored.length;
  if (cli.isJson) cli.printJson({ forgotten: count });
  else cli.print(`Forgot ${count} stored ${count === 1 ? "token" : "tokens"}.\n`);
  return 0;
}
