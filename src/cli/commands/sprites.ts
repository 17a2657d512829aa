import type { Sprite } from "../api-types.ts";
import type { SpriteCheckObject } from "../../contract/sprite.ts";
import { spritePath, type Cli } from "../cli.ts";
import { CliError } from "../errors.ts";
import { createTimeoutMsMax } from "../limits.ts";
import { randomName } from "../random-name.ts";
import {
  formatBytes,
  formatFields,
  formatTable,
  printable,
  relativeTime,
  shellQuote,
} from "../text.ts";

export async function create(cli: Cli, args: readonly string[]): Promise<number> {
  const name = args[0] ?? cli.options.sprite ?? randomName();
  const { label: labels, from: source } = cli.options;
  const from = source === undefined ? undefined : parseForkSource(source);
  const body = { name, labels, from };
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
  await cli.spin("Listing sprites", async () => {
    for await (const page of cli.spritePages({ prefix: cli.options.prefix })) {
      sprites.push(...page.sprites);
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
  const now = new Date();
  cli.print(
    formatTable(
      ["NAME", "STATUS", "CREATED", "URL"],
      sprites.map((sprite) => [
        printable(sprite.name),
        printable(sprite.status ?? "-"),
        relativeTime(sprite.created_at, now),
        printable(sprite.url ?? "-"),
      ]),
    ),
  );
  return 0;
}

export async function info(cli: Cli, args: readonly string[]): Promise<number> {
  const sprite = await fetchSprite(cli, cli.spriteName(args[0]));
  if (cli.isJson) {
    cli.printJson(sprite);
    return 0;
  }
  const check = await checkQuietly(cli, sprite.name);
  const now = new Date();
  const time = (value: string | null | undefined): string =>
    value ? `${value} (${relativeTime(value, now)})` : "-";
  const fields: [string, string][] = [
    ["Name", sprite.name],
    ["Id", sprite.id ?? "-"],
    ["Organization", sprite.organization ?? sprite.org_slug ?? "-"],
    ["Status", sprite.status ?? "-"],
    ["URL", sprite.url ?? "-"],
    ["URL access", sprite.url_settings?.auth ?? "-"],
    ["Durability", sprite.durability ?? "-"],
    ["Labels", (sprite.labels ?? []).join(", ") || "-"],
    ...checkFields(check),
    ["Version", sprite.version ?? "-"],
    ["Created", time(sprite.created_at)],
    ["Last running", time(sprite.last_running_at)],
  ];
  cli.print(formatFields(fields.map(([label, value]) => [label, printable(value)] as const)));
  return 0;
}

/** A sleeping sprite is not woken for it, and an older server says less. */
async function checkQuietly(cli: Cli, name: string): Promise<Partial<SpriteCheckObject>> {
  const path = `${spritePath(name)}/check`;
  return await cli.client.json<Partial<SpriteCheckObject>>("GET", path).catch(() => ({}));
}

function checkFields({ status, reason, sync }: Partial<SpriteCheckObject>): [string, string][] {
  const fields: [string, string][] = [];
  if (status !== undefined && status !== "ok")
    fields.push(["Health", `${status}: ${reason ?? "-"}`]);
  if (sync === undefined) return fields;
  const rest = sync.unsynced_bytes > 0 ? `, ${formatBytes(sync.unsynced_bytes)} written since` : "";
  const until = sync.synced_at === null ? "nothing yet" : `until ${sync.synced_at}${rest}`;
  fields.push(["In the bucket", sync.synced ? "everything" : until]);
  if (sync.sync_problem !== null) fields.push(["Storing fails", sync.sync_problem]);
  if (sync.orphan !== undefined) fields.push(["Put aside at", sync.orphan]);
  return fields;
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
