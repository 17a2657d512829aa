import type { ActivityObject } from "../../contract/activity.ts";
import type { Cli } from "../cli.ts";
import { printable } from "../text.ts";

/** Says what keeps the sprite awake, or why it sleeps. */
export async function why(cli: Cli, [given]: readonly string[]): Promise<number> {
  const name = cli.spriteName(given);
  const activity = await cli.forSprite(name, (path) =>
    cli.client.json<ActivityObject>("GET", `${path}/activity`),
  );
  if (cli.isJson) cli.printJson(activity);
  else
    cli.print(
      describe(name, activity)
        .map((line) => `${line}\n`)
        .join(""),
    );
  return 0;
}

/** Ends the sprite's processes; its disk is stored. */
export async function sleep(cli: Cli, [given]: readonly string[]): Promise<number> {
  const name = cli.spriteName(given);
  const result = await cli.spin(`Putting ${name} to sleep`, () =>
    cli.forSprite(name, (path) => cli.client.json<object>("POST", `${path}/sleep`)),
  );
  if (cli.isJson) cli.printJson(result);
  else cli.print(`${printable(name)} sleeps\n`);
  return 0;
}

function describe(name: string, activity: ActivityObject): string[] {
  const lines = [`${printable(name)} is ${activity.status}`];
  for (const { kind, name: what, since } of activity.awake_because) {
    lines.push(`  awake because of ${kind}: ${printable(what)}, since ${since}`);
  }
  if (activity.status === "running" && activity.awake_because.length === 0) {
    lines.push(`  nothing has gone on since ${activity.idle_since ?? "it started"}`);
    if (activity.sleeps_at !== null) lines.push(`  suspended at ${activity.sleeps_at} if so`);
  }
  if (activity.idle_window_seconds === null && activity.status === "running") {
    lines.push("  it is never suspended: this server's idle window is off");
  }
  if (activity.slept_at !== null) {
    lines.push(`  slept at ${activity.slept_at}: ${printable(activity.slept_because ?? "")}`);
  }
  if (activity.woke_at !== null) {
    lines.push(`  woke at ${activity.woke_at}: ${printable(activity.woke_because ?? "")}`);
  }
  return lines;
}
