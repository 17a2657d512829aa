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
    await adoptToken(cli, { url, token: checkedToken(await secretOption(token)) });
    tellIfOverruled(cli, url);
    return 0;
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
  tellIfOverruled(cli, url);
  return 0;
}

/** A variable outranks what was just chosen, and would send the next command elsewhere. */
function tellIfOverruled(cli: Cli, url: string): void {
  const used = resolveApiUrl(cli.surroundings.env, UserConfig.load(cli.home));
  if (used === url) return;
  const variable = cli.surroundings.env["SPRITE_URL"] ? "SPRITE_URL" : "SPRITES_API_URL";
  cli.note(`${variable} still says ${used}. To use ${url} from now on:  unset ${variable}\n`);
}
