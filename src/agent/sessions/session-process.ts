import type { Readable } from "node:stream";

import { execStream, type OutputStream } from "../../contract/exec-frames.ts";
import type {
  AdoptedProcess,
  Command,
  ExitStatus,
  Launcher,
  PipeProcess,
  ProcessRecord,
  TerminalProcess,
  TerminalSize,
} from "../../sandbox/process.ts";

/** A command's process of either kind, as a session uses it. */
export interface SessionProcess {
  readonly record: ProcessRecord;
  readonly pid: number;
  readonly executable: string | null;
  readonly exited: Promise<ExitStatus>;
  readonly outputs: ReadonlyArray<{ stream: OutputStream; source: Readable }>;
  write(bytes: Uint8Array, onTaken: () => void): void;
  endInput(): void;
  resize(size: TerminalSize): void;
  kill(signal: NodeJS.Signals): void;
}

export async function launchProcess(
  launcher: Launcher,
  command: Command,
  options: { terminal: TerminalSize | null; stdin: boolean },
): Promise<SessionProcess> {
  if (options.terminal !== null) {
    const terminal = await launcher.launchTerminal(command, options.terminal);
    return onTerminal(terminal, options.stdin);
  }
  return onPipes(await launcher.launch(command, { stdin: options.stdin }));
}

/** One whose agent has died. */
export function adoptedProcess(
  adopted: AdoptedProcess,
  options: { stdin: boolean },
): SessionProcess {
  if (adopted.kind === "pipes") return onPipes(adopted.process);
  return onTerminal(adopted.process, options.stdin);
}

function onPipes(process: PipeProcess): SessionProcess {
  const { stdin } = process;
  return {
    record: process.record,
    pid: process.pid,
    executable: process.executable,
    exited: process.exited,
    outputs: [
      { stream: execStream.stdout, source: process.stdout },
      { stream: execStream.stderr, source: process.stderr },
    ],
    write(bytes, onTaken) {
      if (stdin === null || !stdin.writable) onTaken();
      else stdin.write(bytes, onTaken);
    },
    endInput() {
      stdin?.end();
    },
    resize() {
      // There is nothing to resize without a terminal.
    },
    kill: (signal) => process.kill(signal),
  };
}

/** A terminal has no end of input: whoever wants one types it. */
function onTerminal(terminal: TerminalProcess, stdin: boolean): SessionProcess {
  return {
    record: terminal.record,
    pid: terminal.pid,
    executable: terminal.executable,
    exited: terminal.exited,
    outputs: [{ stream: execStream.stdout, source: terminal.output }],
    write(bytes, onTaken) {
      if (stdin) terminal.write(bytes, onTaken);
      else onTaken();
    },
    endInput() {
      // The keyboard stays.
    },
    resize: (size) => terminal.resize(size),
    kill: (signal) => terminal.kill(signal),
  };
}
