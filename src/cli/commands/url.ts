import type { Cli } from "../cli.ts";
import { CliError } from "../errors.ts";
import { printable } from "../text.ts";
import { fetchSprite } from "./sprites.ts";
import { authMode, changeSprite } from "./sprite-config.ts";

export async function url(cli: Cli): Promise<number> {
  const sprite = await fetchSprite(cli, cli.spriteName());
  if (sprite.url === undefined || sprite.url === "") {
    throw new CliError(`${sprite.name} has no web address`, { code: "no_url" });
  }
  if (cli.isJson) cli.printJson({ url: sprite.url, url_settings: sprite.url_settings ?? null });
  else {
    cli.print(`${printable(sprite.url)}\n`);
    cli.note(`Open to ${audienceText(sprite.url_settings?.auth)}.\n`);
  }
  return 0;
}

export async function urlUpdate(cli: Cli): Promise<number> {
  const auth = authMode(cli.options.auth, "--auth");
  const sprite = await changeSprite(cli, { url_settings: { auth } });
  if (cli.isJson) cli.printJson(sprite);
  else cli.print(`${printable(sprite.url ?? sprite.name)} is now for ${audienceText(auth)}.\n`);
  return 0;
}

function audienceText(auth: string | undefined): string {
  return auth === "public" ? "everybody" : "token holders";
}
