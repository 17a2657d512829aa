import type { Cli } from "../cli.ts";
import { UserConfig } from "../config.ts";
import { deviceLogin } from "../device-login.ts";
import { secretOption } from "../secret-input.ts";
import { adoptToken, placeText, storeToken } from "../stored-token.ts";
import { checkedApiUrl, checkedToken, resolveApiUrl } from "../target.ts";

/** `sprite login [api-url]`: a token by approval in a browser, or the one that is given. */
export async function login(cli: Cli, args: readonly string[]): Promise<number> {
  const [given] = args;
  const url =
    given === undefined
      ? resolveApiUrl(cli.surroundings.env, UserConfig.load(cli.home))
      : checkedApiUrl(given, "the argument");
  const { token } = cli.options;
  if (token !== undefined) {
    return await adoptToken(cli, { url, token: checkedToken(await secretOption(token)) });
  }
  const granted = await deviceLogin(cli, url);
  const stored = storeToken(cli, { ...granted, token: checkedToken(granted.token), url });
  if (cli.isJson) {
    cli.printJson({
      url,
      org: granted.org,
      verified: true,
      place: stored.place,
      path: stored.path,
    });
  } else {
    cli.print(`Logged in to ${granted.org} at ${url}. The token is in ${placeText(stored)}.\n`);
  }
  return 0;
}
