import { constants } from "node:os";
import { signalGraceMsMax } from "./limits.ts";

/** Ctrl+C this often in a row means: let me out, whatever the remote command does. */
const interruptsToGiveUp = 3;
const interruptWindowMs = 2_000;

type ForwardedSignal = "SIGINT" | "SIGTERM" | "SIGHUP";

export interface LocalSignalsOptions {
  forward(signal: ForwardedSignal): void;
  /** Ends the local side with this exit code. */
  giveUp(exitCode: number): void;
  /** A terminal session goes on without us; only a plain command is told to end. */
  isTerminal(): boolean;
}

/** What this process is told to do, the remote command is told: Ctrl+C there is Ctrl+C here. */
export class LocalSignals {
  readonly #options: LocalSignalsOptions;
  readonly #handlers: ReadonlyMap<ForwardedSignal, () => void>;
  #interruptTimesMs: number[] = [];
  #grace: NodeJS.Timeout | undefined;

  constructor(options: LocalSignalsOptions) {
    this.#options = options;
    this.#handlers = new Map([
      ["SIGINT", () => this.#onInterrupt()],
      ["SIGTERM", () => this.#onTerminate("SIGTERM")],
      ["SIGHUP", () => this.#onTerminate("SIGHUP")],
    ]);
    for (const [signal, handler] of this.#handlers) process.on(signal, handler);
  }

  stop(): void {
    clearTimeout(this.#grace);
    for (const [signal, handler] of this.#handlers) process.off(signal, handler);
  }

  #onInterrupt(): void {
    this.#options.forward("SIGINT");
    const nowMs = performance.now();
    this.#interruptTimesMs = this.#interruptTimesMs.filter(
      (timeMs) => nowMs - timeMs < interruptWindowMs,
    );
    this.#interruptTimesMs.push(nowMs);
    if (this.#interruptTimesMs.length >= interruptsToGiveUp) this.#giveUp("SIGINT");
  }

  #onTerminate(signal: ForwardedSignal): void {
    if (this.#options.isTerminal()) {
      this.#giveUp(signal);
      return;
    }
    this.#options.forward(signal);
    this.#grace ??= setTimeout(() => this.#giveUp(signal), signalGraceMsMax);
  }

  #giveUp(signal: ForwardedSignal): void {
    this.#options.giveUp(128 + constants.signals[signal]);
  }
}
