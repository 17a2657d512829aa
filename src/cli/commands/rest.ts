import type { ActivityObject } from "../../contract/activity.ts";
import { activityLines } from "../activity-text.ts";
import { spritePath, type Cli } from "../cli.ts";
import { CliError } from "../errors.ts";
import { sleepsAtOnceMax } from "../limits.ts";
import { printable } from "../text.ts";

/** Says what keeps the sprite awake, or why it sleeps. */
export async function why(cli: Cli, [given]: readonly string[]): Promise<number> {
  const name = cli.spriteName(given);
  const activity = await cli.forSprite(name, (path) =>
    cli.client.json<ActivityObject>("GET", `${path}/activity`),
  );
  if (cli.isJson) {
    cli.printJson(activity);
    return 0;
  }
  const lines = activityLines(activity, new Date()).map((line) => `  ${line}\n`);
  cli.print(`${printable(name)} is ${printable(activity.status)}\n${lines.join("")}`);
  return 0;
}

/** Ends the sprite's processes; its disk is stored. */
export async function sleep(cli: Cli, args: readonly string[]): Promise<number> {
  if (cli.options.all === true) return await sleepAll(cli, args);
  const name = cli.spriteName(args[0]);
  const result = await cli.spin(`Putting ${name} to sleep`, () =>
    cli.forSprite(name, (path) => cli.client.json<object>("POST", sleepPath(cli, path))),
  );
  if (cli.isJson) cli.printJson(result);
  else cli.print(`${printable(name)} sleeps\n`);
  return 0;
}

function sleepPath({ options }: Cli, path: string): string {
  return `${path}/sleep${options.force === true ? "?force=true" : ""}`;
}

/** Some at a time; one that fails does not keep the others awake. */
async function sleepAll(cli: Cli, args: readonly string[]): Promise<number> {
  if (args.length > 0) {
    throw new CliError("--all and the name of a sprite exclude each other", { code: "usage" });
  }
  const names: string[] = [];
  for await (const { sprites } of cli.spritePages({ prefix: cli.options.prefix })) {
    names.push(...sprites.filter(({ status }) => status !== "cold").map(({ name }) => name));
  }
  const failed: { name: string; message: string }[] = [];
  const slept: string[] = [];
  const waiting = [...names];
  const putNext = async (): Promise<void> => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
      try {
        await cli.client.json<object>("POST", sleepPath(cli, spritePath(name)));
        slept.push(name);
        if (!cli.isJson) cli.print(`${printable(name)} sleeps\n`);
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
        failed.push({ name, message });
        cli.note(`${printable(name)} does not sleep: ${printable(message)}\n`);
      }
    }
  };
  const ways = Array.from({ length: sleepsAtOnceMax }, putNext);
  await cli.spin(`Putting ${names.length} sprites to sleep`, () => Promise.all(ways));
  if (cli.isJson) cli.printJson({ slept: slept.toSorted(), failed });
  else if (names.length === 0) cli.note("No sprite is awake.\n");
  return failed.length === 0 ? 0 : 1;
}
