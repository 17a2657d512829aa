import type { Cli } from "../cli.ts";
import { UserConfig } from "../config.ts";
import { CliError } from "../errors.ts";
import { Keyring } from "../keyring.ts";

export async function enable(cli: Cli): Promise<number> {
  return move(cli, true);
}

export async function disable(cli: Cli): Promise<number> {
  return move(cli, false);
}

/** Moves every token to where they are kept from now on. */
function move(cli: Cli, toKeyring: boolean): number {
  const config = UserConfig.load(cli.home);
  const keyring = new Keyring(cli.surroundings.env);
  const { selection } = config;
  config.wantsKeyring = toKeyring;
  const emptied: string[] = [];
  let moved = 0;
  for (const url of config.urls()) {
    for (const { name, keyringKey } of config.orgs(url)) {
      if ((keyringKey !== undefined) === toKeyring) continue;
      const token = config.token(url, name, keyring);
      if (token === undefined) continue;
      config.setToken({ url, org: name, token }, keyring);
      const isInKeyring = config.orgs(url).some((org) => org.name === name && org.keyringKey);
      if (isInKeyring !== toKeyring) throw noKeyring();
      if (keyringKey !== undefined) emptied.push(keyringKey);
      moved++;
    }
  }
  if (toKeyring && moved === 0 && !keyring.isUsable()) throw noKeyring();
  if (selection.url !== undefined) config.select(selection.url, selection.org ?? "");
  config.save();
  // Only now, so that a crash leaves a token in both places rather than in none.
  for (const key of emptied) keyring.remove(key);
  const place = toKeyring ? "the keyring" : config.path;
  if (cli.isJson) cli.printJson({ keyring: toKeyring, moved });
  else cli.print(`Tokens are kept in ${place} from now on; ${moved} moved.\n`);
  return 0;
}

function noKeyring(): CliError {
  return new CliError("no keyring keeps what it is given", {
    code: "no_keyring",
    hint: [
      "It takes secret-tool (apt-get install libsecret-tools) and a desktop session whose",
      "keyring is unlocked. Without one, tokens stay in ~/.sprites/sprites.json.",
    ].join("\n"),
  });
}
