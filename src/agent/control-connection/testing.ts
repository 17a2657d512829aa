/** A control connection's client that keeps all it gets, in order. */
import assert from "node:assert/strict";
import { WebSocket } from "ws";

import { waitUntil } from "../../base/wait.ts";
import type { TestAgent } from "../api/testing.ts";

export class ControlClient {
  readonly socket: WebSocket;
  /** `T text` or `B[hex of the first byte]text`, as transcripts are written. */
  readonly lines: string[] = [];
  readonly opened: Promise<void>;
  readonly closed: Promise<{ code: number; reason: string }>;

  constructor(agent: TestAgent, options: { query?: string; userAgent?: string } = {}) {
    const { query = "", userAgent } = options;
    this.socket = new WebSocket(
      `ws+unix:${agent.socketPath}:/v1/sprites/s1/control${query}`,
      userAgent === undefined ? {} : { headers: { "user-agent": userAgent } },
    );
    this.socket.on("message", (data, isBinary) => this.lines.push(show(data as Buffer, isBinary)));
    this.closed = new Promise((resolve) => {
      this.socket.on("close", (code, reason) => resolve({ code, reason: reason.toString() }));
    });
    this.opened = new Promise((resolve, reject) => {
      this.socket.once("open", resolve);
      this.socket.once("error", reject);
    });
    this.opened.catch(() => undefined);
  }

  start(args: object, op = "exec"): void {
    this.socket.send(`control:${JSON.stringify({ type: "op.start", op, args })}`);
  }

  /** Waits for the end of an operation, and takes everything up to it. */
  async untilEnd(): Promise<string[]> {
    return await this.until((line) => /^T control:\{"type":"op\.(complete|error)"/.test(line));
  }

  async until(isLast: (line: string) => boolean): Promise<string[]> {
    const found = await waitUntil(() => this.lines.some(isLast), {
      timeoutMs: 10_000,
      intervalMs: 5,
    });
    assert.ok(found, this.lines.join("\n"));
    return this.lines.splice(0, this.lines.findIndex(isLast) + 1);
  }
}

/** What the command wrote, of either stream or its terminal. */
export function outputOf(lines: readonly string[]): string {
  const parts = lines.map((line) => /^B\[([0-9a-f]{2})\](.*)$/s.exec(line));
  return parts.map((part) => (part === null ? "" : written(part[1] ?? "", part[2] ?? ""))).join("");
}

function written(first: string, rest: string): string {
  if (first === "01" || first === "02") return rest;
  return first === "03" ? "" : String.fromCharCode(Number.parseInt(first, 16)) + rest;
}

/** Session ids and times differ from run to run. */
function show(bytes: Buffer, isBinary: boolean): string {
  if (isBinary)
    return bytes.length === 0 ? "B[]" : `B[${hex(bytes)}]${bytes.toString("latin1", 1)}`;
  const text = bytes.toString("utf8");
  return `T ${text.replace(/"session_id":"\d+"/, '"session_id":"N"').replace(/"created":\d+/, '"created":N')}`;
}

function hex(bytes: Buffer): string {
  return bytes.toString("hex", 0, 1);
}
