/** Frames of exec, in both directions (contract.md sections 3.2 to 3.5). */

/** First byte of a binary frame of a command without a terminal. */
export const execStream = {
  stdin: 0,
  stdout: 1,
  stderr: 2,
  exit: 3,
  stdinEnd: 4,
} as const;

export type OutputStream = typeof execStream.stdout | typeof execStream.stderr;

/** An empty frame, harmless to every client, that keeps silent sockets alive. */
export const keepAliveFrame: Buffer = Buffer.alloc(0);

export const execCloseCode = {
  /** The command has ended; in terminal mode only with exit code 0. */
  ended: 1000,
  goingAway: 1001,
  internalFailure: 1011,
  /** Older clients derive a terminal command's failure from any code but 1000. */
  endedNonZero: 4000,
  /** An observer that fell further behind than the scrollback reaches. */
  tooSlow: 4008,
} as const;

export interface SessionInfo {
  type: "session_info";
  /** A process id as decimal text: Go decodes it into a string. */
  session_id: string;
  command: string;
  /** Unix seconds. */
  created: number;
  cols: number;
  rows: number;
  is_owner: boolean;
  tty: boolean;
}

/** One binary frame: the stream's id, then the bytes. The bytes are copied. */
export function encodeOutputFrame(stream: OutputStream, bytes: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(bytes.length + 1);
  frame[0] = stream;
  frame.set(bytes, 1);
  return frame;
}

export function encodeExitFrame(code: number): Buffer {
  return Buffer.of(execStream.exit, code & 0xff);
}

/** `code` is the key that the oldest Elixir client looks for. */
export function encodeExitMessage(code: number): string {
  return JSON.stringify({ type: "exit", exit_code: code, code });
}

export function encodeSessionInfo(info: SessionInfo): string {
  return JSON.stringify(info);
}

export type ClientControl =
  | { type: "resize"; columns: number; rows: number }
  | { type: "signal"; signal: unknown };

const terminalEdgeMax = 65_535;

/** Reads a client's text frame; null for whatever is not understood, which is ignored. */
export function parseClientControl(text: string): ClientControl | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null || !("type" in value)) return null;
  if (value.type === "signal" && "signal" in value) {
    return { type: "signal", signal: value.signal };
  }
  if (value.type !== "resize" || !("cols" in value) || !("rows" in value)) return null;
  const columns = parseTerminalEdge(value.cols);
  const rows = parseTerminalEdge(value.rows);
  return columns === null || rows === null ? null : { type: "resize", columns, rows };
}

/** A terminal's width or height, as a number or decimal text; null when it is none. */
export function parseTerminalEdge(value: unknown): number | null {
  const number = typeof value === "string" && /^[0-9]{1,5}$/.test(value) ? Number(value) : value;
  if (typeof number !== "number" || !Number.isInteger(number)) return null;
  return number >= 1 && number <= terminalEdgeMax ? number : null;
}

export type ClientInput = { type: "data"; bytes: Buffer } | { type: "end" } | { type: "ignored" };

/** Reads a client's binary frame on a command without a terminal. */
export function parsePipeInput(frame: Buffer): ClientInput {
  if (frame[0] === execStream.stdin) return { type: "data", bytes: frame.subarray(1) };
  if (frame[0] === execStream.stdinEnd) return { type: "end" };
  return { type: "ignored" };
}

/** What Go and Python may send right after attaching, before they know the session's mode. */
export function isLoneStdinEnd(frame: Buffer): boolean {
  return frame.length === 1 && frame[0] === execStream.stdinEnd;
}
