import type { ServiceOutputStream } from "../../contract/service.ts";
import type { PipeProcess } from "../../sandbox/process.ts";
import { drainOutput } from "../sessions/output-drain.ts";
import { LineCutter, type LogRecord } from "./log-lines.ts";
import type { ServiceLog } from "./service-log.ts";

export interface RunEnd {
  /** 0..255, 128 + n after signal n; null when nobody saw it. */
  exitCode: number | null;
  livedMs: number;
}

export interface RunParts {
  process: PipeProcess;
  log: ServiceLog;
  startedAtMs: number;
  onRecord: (record: LogRecord) => void;
  /** Sees to what the process has left behind; its output is read until then. */
  afterExit: (process: PipeProcess) => Promise<void>;
}

/** One process of a service, from its start to its last output. */
export class ServiceRun {
  readonly process: PipeProcess;
  readonly startedAtMs: number;
  /** Settles after the last output. */
  readonly ended: Promise<RunEnd>;
  /** Somebody has sent it a signal, by which it is to be judged if it ends. */
  wasSignalled = false;
  /** Null when nobody saw it; undefined while it runs. */
  exitCode: number | null | undefined = undefined;
  readonly #log: ServiceLog;
  readonly #onRecord: (record: LogRecord) => void;
  readonly #cutters: LineCutter[] = [];
  #lastOutputMs = 0;
  #isHeldBack = false;

  constructor(parts: RunParts) {
    this.process = parts.process;
    this.startedAtMs = parts.startedAtMs;
    this.#log = parts.log;
    this.#onRecord = parts.onRecord;
    this.#read("stdout");
    this.#read("stderr");
    this.ended = this.#follow(parts.afterExit);
  }

  async #follow(afterExit: RunParts["afterExit"]): Promise<RunEnd> {
    const status = await this.process.exited;
    const livedMs = Date.now() - this.startedAtMs;
    const exitCode = status.kind === "exited" ? status.code : null;
    this.exitCode = exitCode;
    await afterExit(this.process);
    await drainOutput({
      sources: [this.process.stdout, this.process.stderr],
      isHeldBack: () => this.#isHeldBack,
      lastOutputMs: () => this.#lastOutputMs,
    });
    for (const cutter of this.#cutters) cutter.end();
    return { exitCode, livedMs };
  }

  #read(stream: ServiceOutputStream): void {
    const cutter = new LineCutter((data) => {
      const record = { stream, data, timeMs: Date.now() };
      this.#log.append(record);
      this.#onRecord(record);
    });
    this.#cutters.push(cutter);
    const source = this.process[stream];
    source.on("data", (bytes: Buffer) => {
      this.#lastOutputMs = performance.now();
      cutter.push(bytes);
      if (this.#log.isFull && !this.#isHeldBack) void this.#holdBack();
    });
  }

  /** A service that writes faster than its disk waits, as it would for any pipe. */
  async #holdBack(): Promise<void> {
    const { stdout, stderr } = this.process;
    this.#isHeldBack = true;
    stdout.pause();
    stderr.pause();
    await this.#log.room();
    this.#isHeldBack = false;
    stdout.resume();
    stderr.resume();
  }
}
