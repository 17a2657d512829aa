import type { SpriteWatchLine } from "../../contract/sprite.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../errors.ts";
import { LiveTable } from "../live-table.ts";
import { printable, relativeTime } from "../text.ts";

/** `sprite list --watch`: a table that follows at a terminal; elsewhere a line a change. Until Ctrl+C. */
export async function watch(cli: Cli): Promise<number> {
  const query: [string, string][] = [];
  if (cli.options.prefix !== undefined) query.push(["prefix", cli.options.prefix]);
  const headers = { Accept: "application/x-ndjson" };
  const { out, isStdoutTty } = cli.surroundings;
  const table = isStdoutTty && !cli.isJson ? new SpriteTable(cli) : undefined;
  const lines = cli.client.lines<SpriteWatchLine>("GET", "/v1/sprites", { query, headers });
  for await (const line of lines) {
    if (cli.isJson) cli.printJson(line);
    else if (table !== undefined) table.take(line);
    else if (line.type !== "heartbeat" && line.name !== undefined) cli.print(changeText(line));
    if (out.failure !== null) return 1;
    // The next line waits until this one was taken: a stopped reader stops the stream.
    if (out.isFull) await out.flush();
  }
  throw new CliError("the server ended the watch", { code: "connection_lost" });
}

function changeText(line: SpriteWatchLine): string {
  const time = new Date(line.timestamp).toLocaleTimeString("en-GB");
  return `${time}  ${printable(line.status ?? "-").padEnd(8)} ${printable(line.name ?? "")}\n`;
}

/** The newest line of each sprite, drawn anew when one comes. */
class SpriteTable {
  readonly #live: LiveTable;
  readonly #rows = new Map<string, SpriteWatchLine>();
  #footer = "";

  constructor(cli: Cli) {
    this.#live = new LiveTable(cli.surroundings.out);
  }

  take(line: SpriteWatchLine): void {
    const { name, status, org } = line;
    if (name !== undefined && status === "deleted") this.#rows.delete(name);
    else if (name !== undefined) this.#rows.set(name, line);
    if (org !== undefined) {
      this.#footer = `${org.running} running, ${org.warm} warm, ${org.cold} cold`;
    }
    const now = new Date();
    const names = [...this.#rows.keys()].toSorted();
    const rows = names.map((key) => {
      const { status: state, timestamp } = this.#rows.get(key) as SpriteWatchLine;
      return [printable(key), printable(state ?? "-"), relativeTime(timestamp, now)];
    });
    this.#live.draw({ header: ["NAME", "STATUS", "SINCE"], rows, footer: this.#footer });
  }
}
