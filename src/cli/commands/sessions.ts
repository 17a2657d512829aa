import type { Session, StreamEvent } from "../api-types.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../errors.ts";
import { runSession } from "../session.ts";
import { terminalSize } from "../terminal.ts";
import { formatTable, printable, relativeTime } from "../text.ts";
import { reportEnd } from "./exec.ts";

export async function list(cli: Cli): Promise<number> {
  const name = cli.spriteName();
  const sessions = await fetchSessions(cli, name);
  if (cli.isJson) {
    cli.printJson(sessions);
    return 0;
  }
  if (sessions.length === 0) {
    cli.note(`${name} runs no command.\n`);
    return 0;
  }
  cli.print(sessionTable(sessions));
  return 0;
}

/** `sprite attach [id]`: without an id, the only session there is. */
export async function attach(cli: Cli, args: readonly string[]): Promise<number> {
  const name = cli.spriteName();
  const sessionId = args[0] ?? (await onlySession(cli, name));
  const size = terminalSize();
  const query: [string, string][] = [["stdin", "true"]];
  if (size !== undefined) query.push(["rows", String(size.rows)], ["cols", String(size.cols)]);
  const end = await cli.forSprite(name, async (path) => {
    try {
      return await runSession(cli, {
        path: `${path}/exec/${encodeURIComponent(sessionId)}`,
        query,
        mode: null,
        readsStdin: true,
        waitText: `Waiting for ${name}`,
        forwardPath: cli.options.portForward === false ? null : path,
      });
    } catch (error) {
      throw explainMissing(error, sessionId);
    }
  });
  return reportEnd(cli, { end, name });
}

export async function kill(cli: Cli, args: readonly string[]): Promise<number> {
  const name = cli.spriteName();
  const sessionId = args[0] ?? "";
  const query: [string, string][] = [];
  if (cli.options.signal !== undefined) query.push(["signal", cli.options.signal]);
  if (cli.options.timeout !== undefined) query.push(["timeout", cli.options.timeout]);
  const last = await cli.forSprite(name, async (path) => {
    const url = `${path}/exec/${encodeURIComponent(sessionId)}/kill`;
    try {
      return await cli.spin(`Ending session ${sessionId}`, async (spinner) => {
        let last: StreamEvent | undefined;
        for await (const event of cli.client.lines<StreamEvent>("POST", url, { query })) {
          last = event;
          if (event.type === "timeout") spinner.text = printable(event.message ?? "Killing");
          if (event.type === "error") {
            throw new CliError(printable(event.message ?? event.error ?? "the kill failed"), {
              code: "kill_failed",
            });
          }
        }
        return last;
      });
    } catch (error) {
      throw explainMissing(error, sessionId);
    }
  });
  if (last?.type !== "complete") {
    throw new CliError("the server's answer broke off: the session may still run", {
      code: "connection_lost",
      hint: "sprite sessions list",
    });
  }
  if (cli.isJson) cli.printJson({ id: sessionId, exit_code: last.exit_code ?? null });
  else cli.print(killedText(sessionId, last.exit_code));
  return 0;
}

function killedText(sessionId: string, exitCode: number | undefined): string {
  if (exitCode === undefined) return `Signaled session ${sessionId}.\n`;
  return `Session ${sessionId} ended with exit code ${exitCode}.\n`;
}

function explainMissing(error: unknown, sessionId: string): unknown {
  if (!(error instanceof CliError)) return error;
  if (error.status === 410) {
    return new CliError(`session ${sessionId} has already ended`, { code: "gone", status: 410 });
  }
  if (error.status !== 404) return error;
  return new CliError(error.message, {
    code: error.code,
    status: 404,
    details: error.details,
    hint: "`sprite sessions list` shows the ones that run.",
  });
}

async function onlySession(cli: Cli, name: string): Promise<string> {
  const sessions = await fetchSessions(cli, name);
  const [first] = sessions;
  if (first !== undefined && sessions.length === 1) return first.id;
  if (first === undefined) {
    throw new CliError(`${name} runs no session`, {
      code: "not_found",
      hint: "sprite console starts one.",
    });
  }
  throw new CliError(`${name} runs ${sessions.length} sessions`, {
    code: "ambiguous",
    hint: `Choose one:\n${sessionTable(sessions).trimEnd()}`,
  });
}

async function fetchSessions(cli: Cli, name: string): Promise<Session[]> {
  const answer = await cli.spin("Listing sessions", () =>
    cli.forSprite(name, (path) => cli.client.json<{ sessions?: Session[] }>("GET", `${path}/exec`)),
  );
  return answer.sessions ?? [];
}

function sessionTable(sessions: readonly Session[]): string {
  const now = new Date();
  return formatTable(
    ["ID", "COMMAND", "TTY", "STARTED", "LAST ACTIVITY"],
    sessions.map((session) => [
      printable(session.id),
      shortened(printable(session.command ?? "-")),
      session.tty === true ? "yes" : "no",
      relativeTime(session.created, now),
      relativeTime(session.last_activity, now),
    ]),
  );
}

function shortened(text: string): string {
  return text.length <= 60 ? text : `${text.slice(0, 57)}...`;
}
