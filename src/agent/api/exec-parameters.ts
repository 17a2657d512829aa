import { SpriteError } from "../../contract/errors.ts";
import { parseTerminalEdge } from "../../contract/exec-frames.ts";
import type { TerminalSize } from "../../sandbox/process.ts";
import { pipeRunAfterDisconnectMs } from "../sessions/limits.ts";
import type { OpenSession } from "../sessions/sessions.ts";
import { commandEnvironment, type Environment, homeDirectory } from "./environment.ts";
import type { Query } from "./query.ts";

const defaultProgram = "bash";
const defaultSize: TerminalSize = { columns: 80, rows: 24 };

/** The session that an exec request names, or null when it asks for a new command. */
export function attachTarget(query: Query): string | null {
  return query.text("id") ?? query.text("session_id");
}

/**
 * Reads the parameters of a new command (contract.md section 3.1). @throws SpriteError
 * invalid_request
 */
export function parseOpenSession(
  query: Query,
  spriteEnvironment: Readonly<Record<string, string>>,
): OpenSession {
  const tty = query.flag("tty", false);
  return {
    command: parseCommand(query, spriteEnvironment, tty),
    terminal: tty ? { ...defaultSize, ...parseSize(query) } : null,
    stdin: query.flag("stdin", tty),
    runAfterDisconnectMs: parseRunAfterDisconnect(query, tty),
  };
}

/**
 * Reads the command of an HTTP exec, which has neither terminal nor a life of its own. @throws
 * SpriteError invalid_request
 */
export function parseHttpCommand(
  query: Query,
  spriteEnvironment: Readonly<Record<string, string>>,
): OpenSession {
  if (!query.has("cmd")) throw new SpriteError("invalid_request", "cmd is missing");
  return {
    command: parseCommand(query, spriteEnvironment, false),
    terminal: null,
    stdin: query.flag("stdin", false),
    runAfterDisconnectMs: 0,
  };
}

/**
 * The size that an attaching client asks for; null unless it gives both edges. @throws SpriteError
 * invalid_request
 */
export function parseAttachSize(query: Query): TerminalSize | null {
  const { columns, rows } = parseSize(query);
  return columns === undefined || rows === undefined ? null : { columns, rows };
}

function parseCommand(
  query: Query,
  sprite: Readonly<Record<string, string>>,
  terminal: boolean,
): OpenSession["command"] {
  const words = query.all("cmd");
  const path = query.text("path") ?? words[0] ?? defaultProgram;
  const command = {
    argv: words.length === 0 ? [path] : words,
    path,
    directory: parseDirectory(query),
    // A guest that removed its home can still be worked in; whoever names a directory means it.
    ...(query.text("dir") === null ? { fallbackDirectory: "/" } : {}),
    environment: commandEnvironment({ terminal, sprite, request: parseEnvironment(query) }),
  };
  const texts = [...command.argv, path, command.directory, ...command.environment.flat()];
  if (texts.some((text) => text.includes("\0"))) {
    throw new SpriteError("invalid_request", "a command, its directory and env cannot hold NUL");
  }
  return command;
}

/** A relative directory is below the home directory, where commands start. */
function parseDirectory(query: Query): string {
  const directory = query.text("dir") ?? homeDirectory;
  return directory.startsWith("/") ? directory : `${homeDirectory}/${directory}`;
}

function parseEnvironment(query: Query): Environment {
  return query.all("env").map((pair) => {
    const equals = pair.indexOf("=");
    if (equals < 1) throw new SpriteError("invalid_request", "env is not of the form KEY=VALUE");
    return [pair.slice(0, equals), pair.slice(equals + 1)] as const;
  });
}

/** Zero is how clients say that they don't know. */
function parseSize(query: Query): Partial<TerminalSize> {
  const size: Partial<TerminalSize> = {};
  const columns = parseEdge(query, "cols");
  const rows = parseEdge(query, "rows");
  if (columns !== null) size.columns = columns;
  if (rows !== null) size.rows = rows;
  return size;
}

function parseEdge(query: Query, name: string): number | null {
  const text = query.text(name);
  if (text === null || text === "0") return null;
  const edge = parseTerminalEdge(text);
  if (edge === null) throw new SpriteError("invalid_request", `${name} is not a terminal size`);
  return edge;
}

/** Null: for ever. */
function parseRunAfterDisconnect(query: Query, tty: boolean): number | null {
  const givenMs = query.durationMs("max_run_after_disconnect");
  if (givenMs !== null) return givenMs === 0 ? null : Math.min(givenMs, timerMsMax);
  return tty || query.flag("detachable", false) ? null : pipeRunAfterDisconnectMs;
}

/** The longest that a timer of Node takes: 24 days. */
const timerMsMax = 2 ** 31 - 1;
