import type { DiffEntry, DiffLine, DiffSummary } from "../../contract/checkpoint-diff.ts";
import { withCheckpoint } from "../checkpoint-calls.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../errors.ts";
import { formatBytes, printable } from "../text.ts";

const signs: Readonly<Record<DiffEntry["type"], string>> = {
  added: "+",
  changed: "~",
  removed: "-",
};

/** `sprite checkpoint diff FROM [TO]`: a line a path, as they are found. */
export async function diff(cli: Cli, args: readonly string[]): Promise<number> {
  const [from = "", to] = args;
  const { out } = cli.surroundings;
  let end: DiffSummary | undefined;
  let failure: string | undefined;
  await withCheckpoint(cli, { name: cli.spriteName(), id: from }, async (path) => {
    const query: [string, string][] = to === undefined ? [] : [["to", to]];
    for await (const line of cli.client.lines<DiffLine>("GET", `${path}/diff`, { query })) {
      if (cli.isJson) cli.printJson(line);
      if (line.type === "complete") end = line;
      else if (line.type === "error") failure = line.error;
      else if (!cli.isJson) cli.print(entryText(line));
      if (out.failure !== null) return;
      if (out.isFull) await out.flush();
    }
  });
  if (out.failure !== null) return 1;
  if (failure !== undefined) {
    throw new CliError(`not all was compared: ${printable(failure)}`, { code: "operation_failed" });
  }
  if (end === undefined) {
    throw new CliError("the server's answer broke off: not all was compared", {
      code: "connection_lost",
    });
  }
  const { added, changed, removed } = end;
  cli.note(`${added} added, ${changed} changed, ${removed} removed.\n`);
  return 0;
}

function entryText(entry: DiffEntry): string {
  const { type, path, kind, size, old_size: oldSize } = entry;
  const name = printable(path) + (kind === "directory" ? "/" : "");
  const sizes =
    kind !== "file"
      ? ""
      : oldSize === undefined || oldSize === size
        ? formatBytes(size)
        : `${formatBytes(oldSize)} -> ${formatBytes(size)}`;
  return `${signs[type]} ${name}${sizes === "" ? "" : `  ${sizes}`}\n`;
}
