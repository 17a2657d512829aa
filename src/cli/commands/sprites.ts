import type { Sprite } from "../api-types.ts";
import type { OrganizationCounters } from "../../contract/sprite.ts";
import type { Cli } from "../cli.ts";
import { countsText } from "./counts.ts";
import { CliError } from "../errors.ts";
import { createTimeoutMsMax } from "../limits.ts";
import { randomName } from "../random-name.ts";
import { formatTableWithin, printable, relativeTime, shellQuote } from "../text.ts";

export async function create(cli: Cli, args: readonly string[]): Promise<number> {
  const name = args[0] ?? cli.options.sprite ?? randomName();
  const { label: labels, from: source, idleWindow: idle_window } = cli.options;
  const from = source === undefined ? undefined : parseForkSource(source);
  const body = { name, labels, from, idle_window };
  const post = (): Promise<Sprite> =>
    cli.client.json<Sprite>("POST", "/v1/sprites", { body, timeoutMs: createTimeoutMsMax });
  // Only what it is made from can be missing.
  const sprite = await cli.spin(`Creating ${name}`, () =>
    from === undefined ? post() : cli.forSprite(from.sprite, post),
  );
  if (cli.isJson) {
    cli.printJson(sprite);
    return 0;
  }
  cli.print(`Created ${printable(sprite.name)}\n`);
  const { isStdinTty, isStdoutTty } = cli.surroundings;
  const wantsConsole = cli.options.skipConsole !== true && isStdinTty && isStdoutTty;
  if (!wantsConsole) {
    const quoted = shellQuote(sprite.name);
    cli.note(`Use it:  sprite exec -s ${quoted} -- COMMAND   or   sprite use ${quoted}\n`);
    return 0;
  }
  cli.options.sprite = sprite.name;
  const { console } = await import("./exec.ts");
  return await console(cli);
}

/** `NAME` or `NAME@CHECKPOINT`. */
function parseForkSource(text: string): { sprite: string; checkpoint?: string } {
  const [sprite = "", checkpoint, ...rest] = text.split("@");
  if (sprite === "" || checkpoint === "" || rest.length > 0) {
    const message = "--from takes a sprite's name, or NAME@CHECKPOINT such as box@v1";
    throw new CliError(message, { code: "usage" });
  }
  return checkpoint === undefined ? { sprite } : { sprite, checkpoint };
}

export async function list(cli: Cli): Promise<number> {
  if (cli.options.watch === true) {
    const { watch } = await import("./watch.ts");
    return await watch(cli);
  }
  const sprites: Sprite[] = [];
  let counts: Partial<OrganizationCounters> = {};
  await cli.spin("Listing sprites", async () => {
    for await (const page of cli.spritePages({ prefix: cli.options.prefix })) {
      sprites.push(...page.sprites);
      counts = page.org ?? {};
    }
  });
  if (cli.isJson) {
    cli.printJson(sprites);
    return 0;
  }
  if (sprites.length === 0) {
    const which = cli.options.prefix === undefined ? "" : ` whose name begins so`;
    cli.note(`There are no sprites${which}. To make one:  sprite create NAME\n`);
    return 0;
  }
  cli.print(listText(sprites, cli.columns));
  if (cli.surroundings.isStdoutTty) cli.note(`${countsText(counts)}\n`);
  return 0;
}

function listText(sprites: readonly Sprite[], columns: number): string {
  const now = new Date();
  const rows = sprites.map((sprite) => [
    printable(sprite.name),
    printable(sprite.status ?? "-"),
    sprite.status === "running" ? "now" : relativeTime(sprite.last_running_at, now),
    relativeTime(sprite.created_at, now),
    printable(sprite.url ?? "-"),
  ]);
  const header = ["NAME", "STATUS", "ACTIVE", "CREATED", "URL"];
  const dropOrder = ["URL", "CREATED", "ACTIVE"];
  return formatTableWithin({ header, rows }, { columns, dropOrder });
}

export async function restart(cli: Cli, args: readonly string[]): Promise<number> {
  const name = cli.spriteName(args[0]);
  const answer = await cli.spin(`Restarting ${name}`, () =>
    cli.forSprite(name, (path) => cli.client.json<{ message?: string }>("POST", `${path}/restart`)),
  );
  if (cli.isJson) cli.printJson(answer ?? { sprite_name: name });
  else cli.print(`Restart of ${name}: ${printable(answer?.message ?? "done")}\n`);
  return 0;
}

export async function fetchSprite(cli: Cli, name: string): Promise<Sprite> {
  return await cli.spin(`Reading ${name}`, () =>
    cli.forSprite(name, (path) => cli.client.json<Sprite>("GET", path)),
  );
}
