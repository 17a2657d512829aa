import type { Cli } from "../cli.ts";
import { CliError } from "../errors.ts";
import { followLogs } from "../service-calls.ts";

/** Longer than anybody watches; the server ends the stream then. */
const followDuration = "500h";

/** `sprite services logs NAME [-f] [-n COUNT]`. */
export async function logs(cli: Cli, args: readonly string[]): Promise<number> {
  const [name = ""] = args;
  const { lines, follow } = cli.options;
  if (lines !== undefined && !/^\d{1,9}$/.test(lines)) {
    throw new CliError("--lines takes a number", { code: "usage" });
  }
  const query: [string, string][] = [];
  if (lines !== undefined) query.push(["lines", lines]);
  if (follow === true) query.push(["duration", followDuration]);
  await followLogs(cli, name, query);
  return cli.surroundings.out.failure === null ? 0 : 1;
}
