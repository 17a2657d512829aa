import type { Readable } from "node:stream";
import type { AgentCommand, AgentStatus } from "../contract/agent-startup.ts";
import { readJsonLines } from "./json-lines.ts";

const startupBytesMax = 4 * 2 ** 20;

/** The child's end of the control pipe (contract/agent-startup.ts): an agent's, or an image server's. */
export interface ControlPipe<Startup> {
  startup: Promise<Startup>;
  /**
   * Settles with the stop command; the pipe's end, when the worker is gone, means: stop and store
   * the disk.
   */
  stop: Promise<AgentCommand>;
  say(status: AgentStatus): void;
}

export function openControlPipe<Startup>(input: Readable = process.stdin): ControlPipe<Startup> {
  const startup = Promise.withResolvers<Startup>();
  const stop = Promise.withResolvers<AgentCommand>();
  let started = false;
  readJsonLines(input, {
    lineBytesMax: startupBytesMax,
    onValue: (value) => {
      if (!started) {
        started = true;
        startup.resolve(value as Startup);
      } else {
        stop.resolve(value as AgentCommand);
      }
    },
    onOther: () => undefined,
  });
  const onEnd = (): void => {
    if (!started) startup.reject(new Error("the control pipe ended before the configuration"));
    stop.resolve({ type: "stop", discard: false });
  };
  input.on("end", onEnd);
  input.on("error", onEnd);
  // A worker that is gone cannot read; what we say then is for nobody.
  process.stdout.on("error", () => undefined);
  startup.promise.catch(() => undefined);
  return {
    startup: startup.promise,
    stop: stop.promise,
    say: (status) => void process.stdout.write(`${JSON.stringify(status)}\n`),
  };
}
