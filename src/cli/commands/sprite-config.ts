import type { Sprite } from "../api-types.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../errors.ts";
import { formatFields, printable } from "../text.ts";
import { fetchSprite } from "./sprites.ts";

/** `sprite config`: what is set for a sprite, as far as it can be changed or was chosen at its creation. */
export async function show(cli: Cli): Promise<number> {
  const sprite = await fetchSprite(cli, cli.spriteName());
  const { name, url_settings, labels, durability, idle_window, config, environment } = sprite;
  if (cli.isJson) {
    cli.printJson({ name, url_settings, labels, durability, idle_window, config, environment });
    return 0;
  }
  const fields: [string, string][] = [
    ["URL access", url_settings?.auth ?? "-"],
    ["Private access", url_settings?.private_access ?? "-"],
    ["Labels", (labels ?? []).join(", ") || "-"],
    ["Durability", durability ?? "-"],
    ["Idle window", idle_window ?? "-"],
    ...Object.entries(config ?? {}).map(([key, value]): [string, string] => [key, String(value)]),
    // Values may be secrets, and this is read over shoulders; --json has them.
    ["Environment", Object.keys(environment ?? {}).join(", ") || "-"],
  ];
  cli.print(formatFields(fields.map(([label, value]) => [printable(label), printable(value)])));
  return 0;
}

export async function update(cli: Cli): Promise<number> {
  const { urlAuth, urlPrivateAccess, label: labels, clearLabels, idleWindow } = cli.options;
  if (labels !== undefined && clearLabels === true) {
    throw new CliError("--label and --clear-labels contradict each other", { code: "usage" });
  }
  const urlSettings = {
    ...(urlAuth === undefined ? {} : { auth: authMode(urlAuth, "--url-auth") }),
    ...(urlPrivateAccess === undefined ? {} : { private_access: urlPrivateAccess }),
  };
  const change = {
    ...(Object.keys(urlSettings).length > 0 ? { url_settings: urlSettings } : {}),
    ...(clearLabels === true ? { labels: [] } : labels === undefined ? {} : { labels }),
    ...(idleWindow === undefined ? {} : { idle_window: idleWindow }),
  };
  if (Object.keys(change).length === 0) {
    throw new CliError("nothing to change was named", {
      code: "usage",
      hint: "`sprite config update --help` lists what there is.",
    });
  }
  const sprite = await changeSprite(cli, change);
  if (cli.isJson) cli.printJson(sprite);
  else cli.print(`Changed ${printable(sprite.name)}.\n`);
  return 0;
}

export async function changeSprite(cli: Cli, body: object): Promise<Sprite> {
  const name = cli.spriteName();
  return await cli.spin(`Changing ${name}`, () =>
    cli.forSprite(name, (path) => cli.client.json<Sprite>("PUT", path, { body })),
  );
}

export function authMode(text: string | undefined, option: string): "public" | "sprite" {
  if (text === "public" || text === "sprite") return text;
  throw new CliError(`${option} takes \`public\` or \`sprite\``, { code: "usage" });
}
