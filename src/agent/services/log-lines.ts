/** Lines of a service's output, and how its log file has them. */
import { StringDecoder } from "node:string_decoder";

import type { ServiceOutputStream } from "../../contract/service.ts";
import { logLineLengthMax, partialLineMs } from "./limits.ts";

export interface LogRecord {
  stream: ServiceOutputStream;
  /** As it was written: with its line end, unless there was none in time. */
  data: string;
  timeMs: number;
}

/** `2026-06-02T17:11:17.821Z [stderr] text`, and always a line end. */
export function formatLogLine({ stream, data, timeMs }: LogRecord): string {
  const end = data.endsWith("\n") ? "" : "\n";
  return `${new Date(timeMs).toISOString()} [${stream}] ${data}${end}`;
}

const linePattern = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) \[(stdout|stderr)\] (.*)$/s;

/**
 * Reads a line of a log file, without its end. What somebody else wrote into the file is taken for
 * output, of the time of the line before.
 */
export function parseLogLine(line: string, previousMs: number): LogRecord {
  const [, time = "", stream, text = ""] = linePattern.exec(line) ?? [];
  const timeMs = Date.parse(time);
  if (Number.isNaN(timeMs) || (stream !== "stdout" && stream !== "stderr")) {
    return { stream: "stdout", data: `${line}\n`, timeMs: previousMs };
  }
  return { stream, data: `${text}\n`, timeMs };
}

/** The lines at the end of a log file, without their ends. @param bytes at most so many of it */
export function splitLog(bytes: Buffer, bytesMax: number): string[] {
  const lines = bytes.toString("utf8").split("\n");
  // Where the bound has cut, the first is half a line.
  if (bytes.length === bytesMax) lines.shift();
  if (lines.at(-1) === "") lines.pop();
  return lines;
}

export function parseLog(lines: readonly string[]): LogRecord[] {
  let previousMs = Date.now();
  return lines.map((line) => {
    const record = parseLogLine(line, previousMs);
    previousMs = record.timeMs;
    return record;
  });
}

/** Cuts what a program writes to one stream into lines. */
export class LineCutter {
  readonly #onText: (text: string) => void;
  readonly #decoder = new StringDecoder("utf8");
  #rest = "";
  #timer: NodeJS.Timeout | null = null;

  constructor(onText: (text: string) => void) {
    this.#onText = onText;
  }

  push(bytes: Buffer): void {
    const text = this.#rest + this.#decoder.write(bytes);
    let start = 0;
    for (;;) {
      const lineEnd = text.indexOf("\n", start);
      const end = lineEnd < 0 ? text.length : lineEnd + 1;
      if (lineEnd < 0 && end - start <= logLineLengthMax) break;
      for (; end - start > logLineLengthMax; start = cutAt(text, start)) {
        this.#onText(text.slice(start, cutAt(text, start)));
      }
      if (lineEnd < 0) break;
      this.#onText(text.slice(start, end));
      start = end;
    }
    this.#rest = text.slice(start);
    this.#arrangeTimer();
  }

  /** Tells what is left. */
  end(): void {
    this.#rest += this.#decoder.end();
    this.#tellRest();
  }

  #arrangeTimer(): void {
    if (this.#rest === "") {
      if (this.#timer !== null) clearTimeout(this.#timer);
      this.#timer = null;
    } else {
      this.#timer ??= setTimeout(() => this.#tellRest(), partialLineMs);
    }
  }

  #tellRest(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const rest = this.#rest;
    this.#rest = "";
    if (rest !== "") this.#onText(rest);
  }
}

/** Where a line that is too long is cut, never between the halves of one character. */
function cutAt(text: string, start: number): number {
  const end = start + logLineLengthMax;
  const last = text.charCodeAt(end - 1);
  return last >= 0xd800 && last <= 0xdbff ? end - 1 : end;
}
