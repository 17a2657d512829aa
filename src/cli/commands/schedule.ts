import type { ScheduleObject } from "../../contract/schedule.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../errors.ts";
import { printable } from "../text.ts";

/** Shows when the sprite is woken by itself, or changes it. */
export async function schedule(cli: Cli, [given]: readonly string[]): Promise<number> {
  const name = cli.spriteName(given);
  const { cron, at, clear } = cli.options;
  const isChange = cron !== undefined || at !== undefined;
  if (clear === true && isChange) {
    throw new CliError("--clear and a time exclude each other", { code: "usage" });
  }
  const result = await cli.forSprite(name, async (path) => {
    const target = `${path}/schedule`;
    if (clear === true) await cli.client.json<unknown>("DELETE", target);
    return isChange
      ? await cli.client.json<ScheduleObject>("PUT", target, { body: { cron, at } })
      : await cli.client.json<ScheduleObject>("GET", target);
  });
  if (cli.isJson) cli.printJson(result);
  else cli.print(`${printable(name)} ${describe(result)}\n`);
  return 0;
}

function describe({ cron, next_at: next }: ScheduleObject): string {
  if (next === null) return "is not woken by itself";
  return `is woken at ${printable(next)}${cron === null ? "" : ` (${printable(cron)})`}`;
}
