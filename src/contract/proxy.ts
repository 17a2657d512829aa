/** The first messages of a TCP tunnel, in both directions (contract.md section 9.1). */
import { SpriteError } from "./errors.ts";
import { dnsNameLengthMax } from "./limits.ts";

export interface TunnelTarget {
  /** As the client wrote it; "localhost" for none. */
  host: string;
  port: number;
  /** Asks for the ends of both directions apart, as text messages of our own. */
  halfClose: boolean;
}

/** What ends one direction of a tunnel whose client asked for half-close. */
export const endOfInputMessage = '{"type":"eof"}';

export type TunnelFailure =
  | "connection_refused"
  | "timed_out"
  | "unreachable"
  | "name_not_found"
  | "invalid_request"
  | "unavailable";

/** @throws SpriteError invalid_request */
export function parseTunnelTarget(text: string): TunnelTarget {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw invalid("the first message is not JSON", cause);
  }
  if (typeof value !== "object" || value === null) throw invalid("the first message is no object");
  const { host, port, half_close: halfClose } = value as Record<string, unknown>;
  return { host: readHost(host), port: readPort(port), halfClose: halfClose === true };
}

function readHost(value: unknown): string {
  if (value === undefined || value === null || value === "") return "localhost";
  if (typeof value !== "string" || value.length > dnsNameLengthMax)
    throw invalid("host is no name");
  // An address in brackets is how URLs write it.
  const host = /^\[(.*)\]$/.exec(value)?.[1] ?? value;
  // Also what keeps a name from being read as an option or a pattern where it is looked up.
  if (!/^[A-Za-z0-9_:][A-Za-z0-9_.:-]*$/.test(host)) throw invalid("host is no name or address");
  return host;
}

function readPort(value: unknown): number {
  const port = typeof value === "string" && /^[0-9]{1,5}$/.test(value) ? Number(value) : value;
  if (typeof port === "number" && Number.isInteger(port) && port >= 1 && port <= 65_535)
    return port;
  throw invalid("port is not a number from 1 to 65535");
}

function formatTarget({ host, port }: Pick<TunnelTarget, "host" | "port">): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

export function encodeConnected(target: TunnelTarget): string {
  return JSON.stringify({ status: "connected", target: formatTarget(target) });
}

/** `code` is ours; clients look at the status and show the rest. */
export function encodeNotConnected(options: {
  target: TunnelTarget | null;
  code: TunnelFailure;
  error: string;
}): string {
  const { target, code, error } = options;
  const shown = target === null ? "" : formatTarget(target);
  return JSON.stringify({ status: "error", target: shown, error, code });
}

function invalid(message: string, cause?: unknown): SpriteError {
  return new SpriteError("invalid_request", message, { cause });
}
