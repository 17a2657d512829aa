import type { SpriteWatchLine } from "../../contract/sprite.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../errors.ts";
import { printable } from "../text.ts";

/** `sprite list --watch`: one line a sprite, then one a change, until Ctrl+C. */
export async function watch(cli: Cli): Promise<number> {
  const query: [string, string][] = [];
  if (cli.options.prefix !== undefined) query.push(["prefix", cli.options.prefix]);
  const headers = { Accept: "application/x-ndjson" };
  for await (const line of cli.client.lines<SpriteWatchLine>("GET", "/v1/sprites", {
    query,
    headers,
  })) {
    if (cli.isJson) cli.printJson(line);
    else if (line.type !== "heartbeat" && line.name !== undefined) {
      const time = new Date(line.timestamp).toLocaleTimeString("en-GB");
      cli.print(`${time}  ${printable(line.status ?? "-").padEnd(8)} ${printable(line.name)}\n`);
    }
    if (cli.surroundings.out.failure !== null) return 1;
    // The next line waits until this one was taken: a stopped reader stops the stream.
    if (cli.surroundings.out.isFull) await cli.surroundings.out.flush();
  }
  throw new CliError("the server ended the watch", { code: "connection_lost" });
}
