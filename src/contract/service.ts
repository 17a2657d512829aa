/** Services on the wire (contract.md section 6). Read by hand: the agent has no schema library. */
import { SpriteError } from "./errors.ts";
import {
  environmentEntriesMax,
  environmentKeyLengthMax,
  serviceArgumentsMax,
  serviceDefinitionSizeBytesMax,
  serviceNameLengthMax,
  serviceNeedsMax,
} from "./limits.ts";
import { parseSignal } from "./signals.ts";
import { formatOptionalTimestamp } from "./timestamp.ts";

export interface ServiceDefinition {
  name: string;
  cmd: string;
  args: readonly string[];
  env: Readonly<Record<string, string>>;
  /** Null: the home directory. A relative one is below it. */
  dir: string | null;
  /** Services that are started before this one. */
  needs: readonly string[];
  /** Where it answers HTTP requests to the sprite's URL; null when it does not. */
  httpPort: number | null;
}

export type ServiceStatus = "stopped" | "starting" | "running" | "stopping" | "failed";

export interface ServiceState {
  status: ServiceStatus;
  /** Inside the container; null while there is no process. */
  pid: number | null;
  startedAtMs: number | null;
  /** Why it is not running; empty when all is as it was asked for. */
  error: string;
  /** How often it was started again since somebody started it. */
  restartCount: number;
  nextRestartAtMs: number | null;
  /** How its last process ended; null when none has, or nobody saw it. */
  exitCode: number | null;
}

export type ServiceOutputStream = "stdout" | "stderr";

export type ServiceEvent = Readonly<Record<string, unknown>> & { type: string };

const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;
const nameRule =
  `a service's name is 1 to ${serviceNameLengthMax} letters, digits, dots, hyphens and underscores, ` +
  "and begins with a letter or a digit";
const httpPortTaken = "another service already has an HTTP port configured";

/** @throws SpriteError invalid_request */
export function parseServiceName(value: unknown): string {
  if (
    typeof value === "string" &&
    value.length <= serviceNameLengthMax &&
    namePattern.test(value)
  ) {
    return value;
  }
  throw invalid("name", nameRule);
}

/** The body of a PUT. Unknown fields are ignored. @throws SpriteError invalid_request */
export function parseServiceDefinition(name: string, body: unknown): ServiceDefinition {
  const fields = record(body, "the body");
  const definition: ServiceDefinition = {
    name: parseServiceName(name),
    cmd: parseCommand(fields["cmd"]),
    args: texts(fields["args"], { field: "args", countMax: serviceArgumentsMax }),
    env: parseEnvironment(fields["env"]),
    dir: parseDirectory(fields["dir"]),
    needs: [...new Set(texts(fields["needs"], { field: "needs", countMax: serviceNeedsMax }))],
    httpPort: parseHttpPort(fields["http_port"]),
  };
  for (const needed of definition.needs) parseServiceName(needed);
  if (Buffer.byteLength(JSON.stringify(definition)) > serviceDefinitionSizeBytesMax) {
    throw new SpriteError(
      "invalid_request",
      "the service's command and environment are too large",
      {
        details: { limit: serviceDefinitionSizeBytesMax },
      },
    );
  }
  return definition;
}

/** The definition as a PUT has it, which is also how it is kept. */
export function serviceRequest(definition: ServiceDefinition): Record<string, unknown> {
  const { cmd, args, env, dir, needs, httpPort } = definition;
  return { cmd, args, env, ...(dir === null ? {} : { dir }), needs, http_port: httpPort };
}

export function sameDefinition(one: ServiceDefinition, other: ServiceDefinition): boolean {
  return JSON.stringify(serviceRequest(one)) === JSON.stringify(serviceRequest(other));
}

export function serviceObject(
  definition: ServiceDefinition,
  state: ServiceState,
): Record<string, unknown> {
  const { name } = definition;
  const { status, pid, error, restartCount, exitCode } = state;
  return {
    name,
    ...serviceRequest(definition),
    state: {
      name,
      status,
      pid,
      started_at: formatOptionalTimestamp(state.startedAtMs),
      error,
      restart_count: restartCount,
      next_restart_at: formatOptionalTimestamp(state.nextRestartAtMs),
      exit_code: exitCode,
    },
  };
}

/** The body of `services/signal`. @throws SpriteError invalid_request */
export function parseServiceSignal(body: unknown): { name: string; signal: NodeJS.Signals } {
  const fields = record(body, "the body");
  const name = parseServiceName(fields["name"]);
  const signal = parseSignal(fields["signal"]);
  if (signal === null) throw invalid("signal", "not a signal, such as TERM or SIGHUP");
  return { name, signal };
}

export function httpPortConflict(owner: string): SpriteError {
  return new SpriteError("conflict", httpPortTaken, { details: { service: owner } });
}

/** The lines of a stream. `timestamp` is in milliseconds since the epoch. */
export const serviceEvent = {
  started: (timestamp: number): ServiceEvent => ({ type: "started", timestamp }),
  output: (stream: ServiceOutputStream, data: string, timestamp: number): ServiceEvent => ({
    type: stream,
    data,
    timestamp,
  }),
  exit: (exitCode: number, timestamp: number): ServiceEvent => ({
    type: "exit",
    exit_code: exitCode,
    timestamp,
  }),
  error: (data: string, timestamp: number): ServiceEvent => ({ type: "error", data, timestamp }),
  stopping: (timestamp: number): ServiceEvent => ({ type: "stopping", timestamp }),
  stopped: (exitCode: number, timestamp: number): ServiceEvent => ({
    type: "stopped",
    exit_code: exitCode,
    timestamp,
  }),
  complete: (name: string, timestamp: number): ServiceEvent => {
    const path = `/.sprite/logs/services/${name}.log`;
    return {
      type: "complete",
      log_files: { stdout: path, stderr: path, combined: path },
      timestamp,
    };
  },
};

function invalid(field: string, rule: string): SpriteError {
  return new SpriteError("invalid_request", `${field}: ${rule}`);
}

function record(value: unknown, field: string): Record<string, unknown> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw invalid(field, "not a JSON object");
}

function text(value: unknown, field: string): string {
  if (typeof value !== "string") throw invalid(field, "not a text");
  if (value.includes("\0")) throw invalid(field, "holds NUL");
  return value;
}

/** Go sends null for an empty list. */
function texts(value: unknown, options: { field: string; countMax: number }): string[] {
  const { field, countMax } = options;
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw invalid(field, "not a list");
  if (value.length > countMax) throw invalid(field, `more than ${countMax} entries`);
  return value.map((entry) => text(entry, field));
}

function parseCommand(value: unknown): string {
  if (value === undefined || value === null || value === "") throw invalid("cmd", "missing");
  return text(value, "cmd");
}

function parseEnvironment(value: unknown): Record<string, string> {
  if (value === undefined || value === null) return {};
  const entries = Object.entries(record(value, "env"));
  if (entries.length > environmentEntriesMax) {
    throw invalid("env", `more than ${environmentEntriesMax} variables`);
  }
  for (const [key, entry] of entries) {
    if (key === "" || key.length > environmentKeyLengthMax || /[=\0]/.test(key)) {
      throw invalid("env", "a variable's name is not empty and holds no equals sign");
    }
    text(entry, `env.${key}`);
  }
  return Object.fromEntries(entries) as Record<string, string>;
}

function parseDirectory(value: unknown): string | null {
  if (value === undefined || value === null || value === "") return null;
  return text(value, "dir");
}

function parseHttpPort(value: unknown): number | null {
  if (value === undefined || value === null) return null;
  if (typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= 65_535) {
    return value;
  }
  throw invalid("http_port", "not a port between 1 and 65535");
}
