import type { Sprite } from "../api-types.ts";
import type { Cli } from "../cli.ts";
import { readDirectoryChoice, removeDirectoryChoice, writeDirectoryChoice } from "../config.ts";
import { CliError } from "../errors.ts";

/** `sprite use [name]`: writes, removes or shows this directory's `.sprite`. */
export async function use(cli: Cli, args: readonly string[]): Promise<number> {
  const { directory } = cli.surroundings;
  if (cli.options.unset === true) {
    const wasThere = removeDirectoryChoice(directory);
    if (cli.isJson) cli.printJson({ sprite: null });
    else cli.print(wasThere ? "Removed .sprite.\n" : "There was no .sprite here.\n");
    return 0;
  }
  const name = args[0] ?? cli.options.sprite;
  if (name === undefined) return showChoice(cli);
  const sprite = await cli.spin(`Looking for ${name}`, () =>
    cli.forSprite(name, (path) => cli.client.json<Sprite>("GET", path)),
  );
  const organization = sprite.organization ?? sprite.org_slug ?? cli.client.target.org ?? "";
  const path = writeDirectoryChoice(directory, { organization, sprite: sprite.name });
  if (cli.isJson) cli.printJson({ organization, sprite: sprite.name, path });
  else cli.print(`Commands in this directory now mean ${sprite.name}.\n`);
  return 0;
}

function showChoice(cli: Cli): number {
  const choice = readDirectoryChoice(cli.surroundings.directory);
  if (choice.sprite === undefined) {
    throw new CliError("no sprite is chosen for this directory", {
      code: "no_sprite",
      hint: "To choose one:  sprite use NAME",
    });
  }
  const { organization, sprite } = choice;
  if (cli.isJson) cli.printJson({ organization: organization ?? null, sprite });
  else cli.print(`${sprite}\n`);
  return 0;
}
