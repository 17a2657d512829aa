import type { Cli } from "../cli.ts";
import { parseEnvironmentOption, withTerminalVariables } from "../environment-option.ts";
import { CliError } from "../errors.ts";
import { missingChooserMsMax } from "../limits.ts";
import { runSession, type SessionEnd } from "../session.ts";
import { terminalSize } from "../terminal.ts";
import { shellQuote } from "../text.ts";

const shells = ["bash", "zsh", "fish", "tcsh", "ksh"] as const;

interface RemoteCommand {
  argv: readonly string[];
  isTerminal: boolean;
}

/** `sprite exec`: the remote command's bytes, signals and exit code as if it ran here. */
export async function exec(cli: Cli, args: readonly string[]): Promise<number> {
  const isTerminal = cli.options.tty === true;
  if (cli.options.file !== undefined) await uploadFirst(cli, cli.options.file);
  if (cli.options.httpPost === true) {
    if (isTerminal) {
      throw new CliError("--http-post cannot carry a terminal", {
        code: "usage",
        hint: "Leave out --tty or --http-post.",
      });
    }
    return await execByHttp(cli, args);
  }
  return await runRemote(cli, { argv: args, isTerminal });
}

/** `--file SOURCE:DEST`: everything is there, whole, before the command begins. */
async function uploadFirst(cli: Cli, given: readonly string[]): Promise<void> {
  const { parseFileOption } = await import("../copy/place.ts");
  const { uploadForCommand } = await import("../copy/upload-for-command.ts");
  await uploadForCommand(cli, given.map(parseFileOption));
}

/** Chooses the user's shell, or whatever shell of a wrecked sprite still works. */
const chooser = "/.sprite/bin/sprite-console";
const exitCodeNotFound = 127;

/** `sprite console`: a login shell at our terminal. */
export async function console(cli: Cli): Promise<number> {
  const { shell, dir } = cli.options;
  // The chooser begins at the home directory, whatever it is told.
  if (shell === undefined && dir === undefined) return await chosenConsole(cli);
  return await shellConsole(cli, shell ?? "bash");
}

/** Other servers' sprites have no chooser. */
async function chosenConsole(cli: Cli): Promise<number> {
  const startMs = performance.now();
  const exitCode = await runRemote(cli, { argv: [chooser], isTerminal: true });
  const isShort = performance.now() - startMs < missingChooserMsMax;
  if (exitCode === exitCodeNotFound && isShort) {
    cli.note(
      "If that was because the sprite has no sprite-console:  sprite console --shell bash\n",
    );
  }
  return exitCode;
}

async function shellConsole(cli: Cli, shell: string): Promise<number> {
  if (!shells.some((known) => known === shell)) {
    throw new CliError(`unknown shell ${JSON.stringify(shell)}`, {
      code: "usage",
      hint: `It can be ${shells.join(", ")}. For another: sprite exec --tty -- SHELL`,
    });
  }
  return await runRemote(cli, { argv: [shell, "-l"], isTerminal: true });
}

async function runRemote(cli: Cli, command: RemoteCommand): Promise<number> {
  const name = cli.spriteName();
  const readsStdin = cli.options.stdin !== false;
  // Keys typed at a terminal are not sent to a command without one: its stdin is at its end.
  const sendsStdin = readsStdin && (command.isTerminal || !cli.surroundings.isStdinTty);
  const query = commandQuery(cli, command);
  query.push(["stdin", String(sendsStdin)]);
  const size = command.isTerminal ? terminalSize() : undefined;
  if (command.isTerminal) query.push(["tty", "true"]);
  if (size !== undefined) query.push(["rows", String(size.rows)], ["cols", String(size.cols)]);
  const end = await cli.forSprite(name, (path) =>
    runSession(cli, {
      path: `${path}/exec`,
      query,
      mode: command.isTerminal ? "terminal" : "pipe",
      readsStdin: sendsStdin,
      waitText: `Waiting for ${name}`,
      forwardPath: cli.options.portForward === false ? null : path,
    }),
  );
  return reportEnd(cli, { end, name });
}

async function execByHttp(cli: Cli, argv: readonly string[]): Promise<number> {
  const { httpExec } = await import("../http-exec.ts");
  const name = cli.spriteName();
  const sendsStdin = cli.options.stdin !== false && !cli.surroundings.isStdinTty;
  const query = commandQuery(cli, { argv, isTerminal: false });
  if (sendsStdin) query.push(["stdin", "true"]);
  return await cli.forSprite(name, (path) =>
    httpExec(cli, { path: `${path}/exec`, query, sendsStdin }),
  );
}

function commandQuery(cli: Cli, command: RemoteCommand): [string, string][] {
  const query: [string, string][] = command.argv.map((word) => ["cmd", word]);
  query.push(["path", command.argv[0] ?? ""]);
  if (cli.options.dir !== undefined) query.push(["dir", cli.options.dir]);
  const given = parseEnvironmentOption(cli.options.env ?? []);
  const environment = command.isTerminal
    ? withTerminalVariables(given, cli.surroundings.env)
    : given;
  for (const [key, value] of environment) query.push(["env", `${key}=${value}`]);
  return query;
}

/** Says how to come back to a session that goes on, and gives the exit code of one that has ended. */
export function reportEnd(cli: Cli, ended: { end: SessionEnd; name: string }): number {
  const { end, name } = ended;
  if (end.kind === "exited") return end.exitCode;
  const isRunning = end.kind === "detached" || end.isTerminal;
  const again = `sprite attach -s ${shellQuote(name)} ${end.sessionId}`;
  if (isRunning && end.sessionId !== "") {
    cli.note(`\nDetached; session ${end.sessionId} goes on.\nTo come back:  ${again}\n`);
  }
  return end.kind === "detached" ? 0 : end.exitCode;
}
