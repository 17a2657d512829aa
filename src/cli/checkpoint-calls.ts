/** Calls that several commands about checkpoints share. */
import type { StreamEvent } from "./api-types.ts";
import type { Cli } from "./cli.ts";
import { CliError } from "./errors.ts";
import { printable } from "./text.ts";

/** Reads a checkpoint stream to its end; only a last line `complete` is success. */
export async function followStream(
  cli: Cli,
  stream: {
    path: string;
    query?: readonly (readonly [string, string])[];
    body: unknown;
    waitText: string;
    failure: string;
  },
): Promise<string> {
  let last: StreamEvent | undefined;
  await cli.spin(stream.waitText, async (spinner) => {
    const input = {
      ...(stream.body === undefined ? {} : { body: stream.body }),
      ...(stream.query === undefined ? {} : { query: stream.query }),
    };
    for await (const event of cli.client.lines<StreamEvent>("POST", stream.path, input)) {
      last = event;
      if (event.type === "info" && event.data !== undefined) spinner.text = printable(event.data);
    }
  });
  if (last?.type === "complete") return last.data ?? "Done";
  if (last?.type === "error") {
    const reason = last.error ?? last.data ?? last.message ?? "no reason was given";
    throw new CliError(`${stream.failure}: ${printable(reason)}`, { code: "operation_failed" });
  }
  throw new CliError("the server's answer broke off: whether it went through is not known", {
    code: "connection_lost",
    hint: "sprite checkpoint list --include-auto",
  });
}

export async function withCheckpoint<T>(
  cli: Cli,
  wanted: { name: string; id: string },
  work: (path: string) => Promise<T>,
): Promise<T> {
  return await cli.forSprite(wanted.name, async (path) => {
    try {
      return await work(`${path}/checkpoints/${encodeURIComponent(wanted.id)}`);
    } catch (error) {
      if (!(error instanceof CliError) || error.status !== 404) throw error;
      throw new CliError(error.message, {
        code: error.code,
        status: 404,
        details: error.details,
        hint: "`sprite checkpoint list --include-auto` shows the ones there are.",
      });
    }
  });
}
