/** `sprite info`: all that the API says of one sprite without waking it. */
import type { ActivityObject } from "../../contract/activity.ts";
import type { SpriteCheckObject } from "../../contract/sprite.ts";
import { activityLines } from "../activity-text.ts";
import type { Checkpoint, Sprite } from "../api-types.ts";
import { spritePath, type Cli } from "../cli.ts";
import { formatBytes, formatFields, printable, relativeTime } from "../text.ts";
import { fetchSprite } from "./sprites.ts";

/** As `GET services` has it; an older server says less. */
interface ListedService {
  name?: string;
  state?: { status?: string };
}

/** What a server has no answer to is null. */
interface Details {
  activity: ActivityObject | null;
  check: Partial<SpriteCheckObject> | null;
  checkpoints: Checkpoint[] | null;
  current: Checkpoint | null;
  services: ListedService[] | null;
}

type Field = readonly [label: string, value: string];

export async function info(cli: Cli, args: readonly string[]): Promise<number> {
  const sprite = await fetchSprite(cli, cli.spriteName(args[0]));
  const details = await cli.spin(`Reading ${sprite.name}`, () => fetchDetails(cli, sprite));
  if (cli.isJson) {
    cli.printJson({ ...sprite, ...details });
    return 0;
  }
  const fields = fieldsOf(sprite, details, new Date());
  cli.print(formatFields(fields.map(([label, value]) => [label, printable(value)] as const)));
  return 0;
}

/** None of these wakes a sprite that sleeps. */
async function fetchDetails(cli: Cli, sprite: Sprite): Promise<Details> {
  const path = spritePath(sprite.name);
  const ask = async <T>(rest: string): Promise<T | null> =>
    await cli.client.json<T>("GET", `${path}/${rest}`).catch(() => null);
  const [activity, check, checkpoints, current, services] = await Promise.all([
    ask<ActivityObject>("activity"),
    ask<Partial<SpriteCheckObject>>("check"),
    ask<Checkpoint[]>("checkpoints"),
    ask<Checkpoint>("checkpoints/Current"),
    ask<ListedService[]>("services"),
  ]);
  return { activity, check, checkpoints, current, services };
}

function fieldsOf(sprite: Sprite, details: Details, now: Date): Field[] {
  const { activity, check, checkpoints, current, services } = details;
  const time = (value: string | null | undefined): string =>
    value ? `${value} (${relativeTime(value, now)})` : "-";
  const [why, ...more] = activity === null ? [] : activityLines(activity, now);
  return [
    ["Name", sprite.name],
    ["Id", sprite.id ?? "-"],
    ["Organization", sprite.organization ?? sprite.org_slug ?? "-"],
    ["Status", sprite.status ?? "-"],
    ...(why === undefined ? [] : ([["Why", why]] as const)),
    ...more.map((line): Field => ["", line]),
    ["Last running", sprite.status === "running" ? "now" : time(sprite.last_running_at)],
    ["URL", sprite.url ?? "-"],
    ["URL access", sprite.url_settings?.auth ?? "-"],
    ["Labels", (sprite.labels ?? []).join(", ") || "-"],
    ["Durability", sprite.durability ?? "-"],
    ...(current?.size_bytes === undefined
      ? []
      : ([["Disk in use", formatBytes(current.size_bytes)]] as const)),
    ...checkFields(check ?? {}),
    ...(checkpoints === null
      ? []
      : ([["Checkpoints", checkpointsText(checkpoints, now)]] as const)),
    ...(services === null ? [] : ([["Services", servicesText(services)]] as const)),
    ["Version", sprite.version ?? "-"],
    ["Created", time(sprite.created_at)],
  ];
}

function checkpointsText(all: readonly Checkpoint[], now: Date): string {
  const [newest] = all.filter(({ id }) => id !== "Current");
  const count = all.filter(({ id }) => id !== "Current").length;
  if (newest === undefined) return "none";
  return `${count}, the newest ${newest.id} (${relativeTime(newest.create_time, now)})`;
}

function servicesText(all: readonly ListedService[]): string {
  const words = all.map(({ name, state }) => `${name ?? "-"} (${state?.status ?? "-"})`);
  return words.join(", ") || "none";
}

function checkFields({ status, reason, sync }: Partial<SpriteCheckObject>): Field[] {
  const fields: Field[] = [];
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
