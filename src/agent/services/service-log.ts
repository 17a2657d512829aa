import { setTimeout as delay } from "node:timers/promises";

import type { Launcher } from "../../sandbox/process.ts";
import { guestScript, runInGuest } from "./guest-command.ts";
import { logBatchBytesMax, logPendingBytesMax, logReadBytesMax, logSpacingMs } from "./limits.ts";
import { formatLogLine, parseLog, splitLog, type LogRecord } from "./log-lines.ts";
import type { LogWriter } from "./log-writer.ts";

const readProgram = `
for file in "$1.1" "$1"; do
  [ -f "$file" ] && cat "$file"
done | tail -c "$3" | tail -n "$2"
`;

export interface ServiceLogParts {
  name: string;
  writer: LogWriter;
  launcher: Pick<Launcher, "launch">;
  /** Where the log files are, inside. */
  directory: string;
}

/** One service's output on its way to the log file, and back from there. */
export class ServiceLog {
  readonly #parts: ServiceLogParts;
  #pending: string[] = [];
  #pendingBytes = 0;
  /** Its file is written or read by one at a time. */
  #turn: Promise<unknown> = Promise.resolve();
  #isWriting = false;
  #onRoom: (() => void)[] = [];
  #droppedCount = 0;

  constructor(parts: ServiceLogParts) {
    this.#parts = parts;
  }

  append(record: LogRecord): void {
    const line = formatLogLine(record);
    this.#pending.push(line);
    this.#pendingBytes += line.length;
    if (this.#isWriting) return;
    this.#isWriting = true;
    void this.#writeAll();
  }

  /** So much waits that its service's output should not be read for now. */
  get isFull(): boolean {
    return this.#pendingBytes > logPendingBytesMax;
  }

  /** Settles when there is room again. */
  async room(): Promise<void> {
    if (!this.isFull) return;
    await new Promise<void>((resolve) => this.#onRoom.push(resolve));
  }

  /** Settles when everything so far is in the file, or lost. */
  async flushed(): Promise<void> {
    await this.#exclusively(() => this.#writeBatches());
  }

  /**
   * The last lines of the file. `onRead` is called while nothing new can get into it: what is
   * appended from then on is not among them. @throws SpriteError
   */
  async read(linesMax: number, onRead: () => void): Promise<LogRecord[]> {
    return await this.#exclusively(async () => {
      await this.#writeBatches();
      onRead();
      // What came in the meantime is not in the file, nor will it be told to whoever follows from here.
      const waiting = [...this.#pending];
      if (linesMax === 0) return [];
      const records = parseLog([...(await this.#readFile(linesMax)), ...waiting.map(withoutEnd)]);
      return records.slice(-linesMax);
    });
  }

  async #readFile(linesMax: number): Promise<string[]> {
    const { launcher, directory, name } = this.#parts;
    const args = [`${directory}/${name}.log`, String(linesMax), String(logReadBytesMax)];
    const command = guestScript(readProgram, args);
    const { stdout } = await runInGuest(launcher, command, { outputBytesMax: logReadBytesMax });
    return splitLog(stdout, logReadBytesMax);
  }

  async #writeAll(): Promise<void> {
    while (this.#pending.length > 0) {
      await this.flushed();
      await delay(logSpacingMs);
    }
    this.#isWriting = false;
  }

  async #writeBatches(): Promise<void> {
    // Only what is there now: a service that never pauses would keep a reader waiting for ever.
    for (let rest = this.#pending.length; rest > 0;) {
      const batch = this.#takeBatch(rest);
      rest -= batch.length;
      const text = batch.join("");
      const isWritten = await this.#parts.writer.append(this.#parts.name, this.#notice() + text);
      this.#droppedCount = isWritten ? 0 : this.#droppedCount + batch.length;
      this.#pendingBytes -= text.length;
      if (this.isFull) continue;
      for (const resolve of this.#onRoom.splice(0)) resolve();
    }
  }

  /** What the file lacks, told in its place. */
  #notice(): string {
    if (this.#droppedCount === 0) return "";
    const data = `sprite: ${this.#droppedCount} lines are missing here: they could not be written`;
    return formatLogLine({ stream: "stderr", data, timeMs: Date.now() });
  }

  #takeBatch(countMax: number): string[] {
    let sizeBytes = 0;
    let count = 0;
    for (const line of this.#pending) {
      if (count === countMax || (count > 0 && sizeBytes + line.length > logBatchBytesMax)) break;
      sizeBytes += line.length;
      count += 1;
    }
    const batch = this.#pending.slice(0, count);
    this.#pending = this.#pending.slice(count);
    return batch;
  }

  async #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => undefined);
    return await turn;
  }
}

function withoutEnd(line: string): string {
  return line.slice(0, -1);
}
