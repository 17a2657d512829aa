import { serviceEvent, type ServiceEvent } from "../../contract/service.ts";
import type { NdjsonStream } from "../api/responses.ts";
import { streamQueueBytesMax } from "./limits.ts";

type Reader = Pick<NdjsonStream, "send" | "end" | "queuedBytes" | "drained" | "signal">;

/**
 * What happens to a service, on its way to one reader. A reader that is slower than the service misses
 * lines of its output, and is told how many; the log has them.
 */
export class ServiceStream {
  /** Aborted when the reader has gone. */
  readonly signal: AbortSignal;
  readonly #stream: Reader;
  #onEnd: () => void = () => {};
  /** By the last that was heard, the service does not run. */
  #isOver = false;
  #skippedCount = 0;

  constructor(stream: Reader) {
    this.#stream = stream;
    this.signal = stream.signal;
  }

  readonly send = (event: ServiceEvent): void => {
    if (isOutput(event) && this.#stream.queuedBytes > streamQueueBytesMax) {
      this.#skippedCount += 1;
      return;
    }
    this.#tellSkipped();
    this.#stream.send(event);
    this.#look(event);
  };

  /** Only what the service writes. */
  readonly sendOutput = (event: ServiceEvent): void => {
    if (isOutput(event)) this.send(event);
  };

  /** Only what becomes of it. */
  readonly sendEvents = (event: ServiceEvent): void => {
    if (!isOutput(event)) this.send(event);
  };

  async drained(): Promise<void> {
    await this.#stream.drained();
  }

  /** Settles when the service ends, or if it has; when the reader or it are gone; or after the time. */
  async watched(timeMs: number, gone: Promise<void>): Promise<void> {
    if (this.#isOver || this.signal.aborted || timeMs <= 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, timeMs);
      const settle = (): void => {
        clearTimeout(timer);
        resolve();
      };
      this.#onEnd = settle;
      void gone.then(settle);
      this.signal.addEventListener("abort", settle, { once: true });
    });
  }

  complete(name: string): void {
    this.#tellSkipped();
    this.#stream.send(serviceEvent.complete(name, Date.now()));
    this.#stream.end();
  }

  #look({ type }: ServiceEvent): void {
    if (type === "started") this.#isOver = false;
    if (type !== "exit" && type !== "stopped" && type !== "error") return;
    this.#isOver = true;
    this.#onEnd();
  }

  #tellSkipped(): void {
    if (this.#skippedCount === 0) return;
    const text = `sprite: ${this.#skippedCount} lines were not read in time; the log has them\n`;
    this.#skippedCount = 0;
    this.#stream.send(serviceEvent.output("stderr", text, Date.now()));
  }
}

function isOutput({ type }: ServiceEvent): boolean {
  return type === "stdout" || type === "stderr";
}
