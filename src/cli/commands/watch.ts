import type { ActivityObject } from "../../contract/activity.ts";
import type { OrganizationCounters, SpriteWatchLine } from "../../contract/sprite.ts";
import { activitySummary } from "../activity-text.ts";
import { spritePath, type Cli } from "../cli.ts";
import { CliError } from "../errors.ts";
import { activityLookMs, activityLooksMax } from "../limits.ts";
import { LiveTable } from "../live-table.ts";
import { durationText, printable } from "../text.ts";
import { countsText } from "./counts.ts";

/** `sprite list --watch`: a table that follows at a terminal; elsewhere a line a change. Until Ctrl+C. */
export async function watch(cli: Cli): Promise<number> {
  const query: [string, string][] = [];
  if (cli.options.prefix !== undefined) query.push(["prefix", cli.options.prefix]);
  const headers = { Accept: "application/x-ndjson" };
  const { out, isStdoutTty } = cli.surroundings;
  const table = isStdoutTty && !cli.isJson ? new SpriteTable(cli) : undefined;
  const lines = cli.client.lines<SpriteWatchLine>("GET", "/v1/sprites", { query, headers });
  try {
    for await (const line of lines) {
      if (cli.isJson) cli.printJson(line);
      else if (table !== undefined) table.take(line);
      else if (line.type !== "heartbeat" && line.name !== undefined) cli.print(changeText(line));
      if (out.failure !== null) return 1;
      // The next line waits until this one was taken: a stopped reader stops the stream.
      if (out.isFull) await out.flush();
    }
  } finally {
    table?.stop();
  }
  throw new CliError("the server ended the watch", { code: "connection_lost" });
}

function changeText(line: SpriteWatchLine): string {
  const time = new Date(line.timestamp).toLocaleTimeString("en-GB");
  return `${time}  ${printable(line.status ?? "-").padEnd(8)} ${printable(line.name ?? "")}\n`;
}

/** The newest line of each sprite and what those in sight do, drawn anew when one comes and now and then. */
class SpriteTable {
  readonly #cli: Cli;
  readonly #live: LiveTable;
  readonly #rows = new Map<string, SpriteWatchLine>();
  readonly #activities = new Map<string, Partial<ActivityObject>>();
  readonly #timer: NodeJS.Timeout;
  #counts: Partial<OrganizationCounters> = {};
  #isLooking = false;

  constructor(cli: Cli) {
    this.#cli = cli;
    this.#live = new LiveTable(cli.surroundings.out);
    this.#timer = setInterval(() => void this.#look(), activityLookMs);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  take(line: SpriteWatchLine): void {
    const { name, status, org } = line;
    if (name !== undefined && status === "deleted") this.#rows.delete(name);
    else if (name !== undefined) this.#rows.set(name, line);
    // What it did before it changed says nothing any more.
    if (name !== undefined) this.#activities.delete(name);
    if (org !== undefined) this.#counts = org;
    this.#draw();
  }

  /** Those that run come first, since something goes on in them; within a state by name. */
  get #names(): string[] {
    const rank = (name: string): number =>
      ["running", "warm", "cold"].indexOf(this.#rows.get(name)?.status ?? "cold");
    return [...this.#rows.keys()].toSorted((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
  }

  async #look(): Promise<void> {
    if (this.#isLooking || this.#cli.surroundings.out.isFull) return;
    this.#isLooking = true;
    try {
      const awake = this.#names.filter((name) => this.#rows.get(name)?.status !== "cold");
      await Promise.all(awake.slice(0, activityLooksMax).map((name) => this.#ask(name)));
      this.#draw();
    } finally {
      this.#isLooking = false;
    }
  }

  async #ask(name: string): Promise<void> {
    const path = `${spritePath(name)}/activity`;
    const asked = this.#cli.client.json<ActivityObject>("GET", path);
    // The column is an extra: without an answer it stays empty.
    const activity = await asked.catch(() => null);
    if (activity !== null && this.#rows.has(name)) this.#activities.set(name, activity);
  }

  #draw(): void {
    const now = new Date();
    const rows = this.#names.map((name) => {
      const line = this.#rows.get(name) as SpriteWatchLine;
      const activity = this.#activities.get(name) ?? {};
      const since = Date.parse(stateSince(line, activity));
      const time = Number.isNaN(since) ? "-" : durationText(now.getTime() - since);
      const { status = "-" } = line;
      return [printable(name), printable(status), time, activitySummary(activity, now)];
    });
    const header = ["NAME", "STATUS", "FOR", "WHY"];
    this.#live.draw({ header, rows, footer: countsText(this.#counts), dropOrder: ["FOR", "WHY"] });
  }
}

/** The first lines of a watch come when it begins: since when a sprite is so, its activity knows, or the registry nearly. */
function stateSince(line: SpriteWatchLine, activity: Partial<ActivityObject>): string {
  if (line.status === "running") return activity.woke_at ?? line.last_running_at ?? "";
  if (line.status === "warm") return activity.slept_at ?? line.last_warming_at ?? "";
  return activity.slept_at ?? line.last_running_at ?? "";
}
