import { durabilities, isDurability } from "../../contract/durability.ts";
import type { Sprite } from "../api-types.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../errors.ts";
import { printable } from "../text.ts";

/** Shows the setting, or changes it at once: running commands go on. */
export async function durability(cli: Cli, args: readonly string[]): Promise<number> {
  const [setting] = args;
  const name = cli.spriteName();
  if (setting !== undefined && !isDurability(setting)) {
    throw new CliError(`durability is ${durabilities.join(" or ")}`, { code: "usage" });
  }
  const sprite = await cli.spin(
    setting === undefined ? `Reading ${name}` : `Changing ${name}`,
    () =>
      cli.forSprite(name, (path) =>
        setting === undefined
          ? cli.client.json<Sprite>("GET", path)
          : cli.client.json<Sprite>("PUT", path, { body: { durability: setting } }),
      ),
  );
  if (sprite.durability === undefined) {
    throw new CliError("this server knows no durability", { code: "unsupported" });
  }
  if (cli.isJson) cli.printJson({ sprite: sprite.name, durability: sprite.durability });
  else cli.print(`${printable(sprite.durability)}\n`);
  return 0;
}
