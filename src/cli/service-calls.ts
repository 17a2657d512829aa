/** Calls about services (contract.md section 6) that several commands share. */
import type { Query } from "./api-client.ts";
import type { Cli } from "./cli.ts";
import { CliError } from "./errors.ts";
import { printable } from "./text.ts";

/** Only the name is sure: an older or newer server may leave out or add the rest. */
export interface Service {
  name: string;
  cmd?: string;
  args?: string[];
  env?: Record<string, string>;
  dir?: string;
  needs?: string[];
  http_port?: number | null;
  state?: {
    status?: string;
    pid?: number | null;
    started_at?: string | null;
    error?: string;
    restart_count?: number;
    next_restart_at?: string | null;
    exit_code?: number | null;
  };
}

export interface ServiceEvent {
  type: string;
  data?: string;
  exit_code?: number;
  timestamp?: number;
}

/** Runs work on one service; when there is none of that name, the error says where to look. */
export async function withService<T>(
  cli: Cli,
  name: string,
  work: (path: string) => Promise<T>,
): Promise<T> {
  return await cli.forSprite(cli.spriteName(), async (path) => {
    try {
      return await work(`${path}/services/${encodeURIComponent(name)}`);
    } catch (error) {
      if (!(error instanceof CliError) || error.status !== 404) throw error;
      throw new CliError(error.message, {
        code: error.code,
        status: 404,
        details: error.details,
        hint: "`sprite services list` shows those there are.",
      });
    }
  });
}

/** Starts, stops or makes a service, and shows what it prints meanwhile. Exit code 1 when it failed. */
export async function watchService(
  cli: Cli,
  call: { name: string; method: "PUT" | "POST"; verb: string; body?: object },
): Promise<number> {
  const { name, method, verb, body } = call;
  const query: [string, string][] = [];
  const { duration, timeout } = cli.options;
  if (duration !== undefined) query.push(["duration", duration]);
  if (timeout !== undefined) query.push(["timeout", timeout]);
  let failure: string | undefined;
  let exitCode: number | undefined;
  let isComplete = false;
  await withService(cli, name, async (path) => {
    const input = { query, timeoutMs: followMsMax, ...(body === undefined ? {} : { body }) };
    for await (const event of cli.client.lines<ServiceEvent>(method, path + verb, input)) {
      await showServiceEvent(cli, event);
      if (event.type === "error") failure = event.data ?? "it gave no reason";
      if (event.type === "exit") exitCode = event.exit_code;
      if (event.type === "complete") isComplete = true;
    }
  });
  if (!isComplete) {
    throw new CliError("the server's answer broke off: how the service is, is not known", {
      code: "connection_lost",
      hint: `sprite services get ${name}`,
    });
  }
  if (failure !== undefined)
    throw new CliError(`${name}: ${printable(failure)}`, { code: "service_failed" });
  if (exitCode === undefined) return 0;
  // A service that ends at once has not become one, whatever its code was.
  throw new CliError(`${name} ended at once, with exit code ${exitCode}`, {
    code: "service_exited",
    details: { exit_code: exitCode },
    hint: `It will be started again. To see more: sprite services logs ${name}`,
  });
}

/** A month: following has no end of its own. */
const followMsMax = 2_147_483_647;

export async function followLogs(cli: Cli, name: string, query: Query): Promise<void> {
  await withService(cli, name, async (path) => {
    const input = { query, timeoutMs: followMsMax };
    for await (const event of cli.client.lines<ServiceEvent>("GET", `${path}/logs`, input)) {
      await showServiceEvent(cli, event, true);
      if (cli.surroundings.out.failure !== null) return;
    }
  });
}

/** What the service printed goes where it went; the rest is a word beside it. */
async function showServiceEvent(cli: Cli, event: ServiceEvent, isLog = false): Promise<void> {
  const { out, err } = cli.surroundings;
  const { type, data } = event;
  if (cli.isJson) cli.printJson(event);
  else if (type === "stdout" || type === "stderr") {
    (type === "stdout" ? out : err).write(withLineEnd(data ?? ""));
  } else if (!isLog && type !== "complete" && type !== "error") {
    const code = event.exit_code === undefined ? "" : ` with exit code ${event.exit_code}`;
    cli.note(`${printable(type)}${code}\n`);
  }
  // The next line waits until this one was taken: a stopped reader stops the stream.
  if (out.isFull) await out.flush();
  if (err.isFull) await err.flush();
}

function withLineEnd(text: string): string {
  return text.endsWith("\n") ? text : `${text}\n`;
}
