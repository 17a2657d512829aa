/** Messages of a control connection, beside the frames of its operations (contract.md section 4). */
import { type ClientControl, parseClientControl } from "./exec-frames.ts";
import { controlMessageBytesMax } from "./limits.ts";

const prefix = "control:";

export type ControlRequest =
  | { kind: "start"; op: string; args: Readonly<Record<string, unknown>> }
  /** Go asks for operations on files without the prefix, and with arguments as in a URL. */
  | { kind: "file"; op: string; args: string }
  /** Go's tunnel: what would be the first message of a proxy's socket. */
  | { kind: "tunnel"; target: string }
  | { kind: "release" }
  | { kind: "session"; control: ClientControl }
  /** An operation was asked for, in words that say none. */
  | { kind: "malformed"; reason: string };

/** Null for what is not understood, which is ignored. */
export function parseControlText(text: string): ControlRequest | null {
  const isEnvelope = text.startsWith(prefix);
  if (text.length > controlMessageBytesMax) {
    return isEnvelope ? { kind: "malformed", reason: "the message is too large" } : null;
  }
  const message = parseObject(isEnvelope ? text.slice(prefix.length) : text);
  if (message === null) {
    return isEnvelope ? { kind: "malformed", reason: "the message is not JSON" } : null;
  }
  if (isEnvelope) return parseEnvelope(message);
  return parseBare(message) ?? asSessionControl(text);
}

function parseEnvelope(message: Record<string, unknown>): ControlRequest | null {
  const { type, op, args } = message;
  if (type !== "op.start") return null;
  if (typeof op !== "string") return { kind: "malformed", reason: "op is missing" };
  if (args === undefined || args === null) return { kind: "start", op, args: {} };
  if (typeof args !== "object" || Array.isArray(args)) {
    return { kind: "malformed", reason: "args is no object" };
  }
  return { kind: "start", op, args: args as Record<string, unknown> };
}

function parseBare(message: Record<string, unknown>): ControlRequest | null {
  const { type, op, args, operation, params } = message;
  if (type === "release") return { kind: "release" };
  if (type === "start" && operation === "proxy") {
    return { kind: "tunnel", target: JSON.stringify(params ?? null) };
  }
  if (type !== "op.start" || typeof op !== "string") return null;
  return { kind: "file", op, args: typeof args === "string" ? args : "" };
}

function asSessionControl(text: string): ControlRequest | null {
  const control = parseClientControl(text);
  return control === null ? null : { kind: "session", control };
}

/** JavaScript sends these in binary frames, where they look like input. */
export function sniffSessionControl(frame: Buffer): ClientControl | null {
  const beginning = frame.toString("latin1", 0, sniffedBytes);
  if (beginning !== '{"type":"resize"' && beginning !== '{"type":"signal"') return null;
  return frame.length > sniffedBytesMax ? null : parseClientControl(frame.toString("utf8"));
}

const sniffedBytes = '{"type":"resize"'.length;
const sniffedBytesMax = 1024;

/** JavaScript and Python take a missing code for 0. */
export function encodeOpComplete(exitCode: number): string {
  return `${prefix}${JSON.stringify({ type: "op.complete", args: { exitCode } })}`;
}

export function encodeOpError(error: string): string {
  return `${prefix}${JSON.stringify({ type: "op.error", args: { error } })}`;
}

function parseObject(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    return isObject ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}
