import { closeSync, constants, fstatSync, openSync, readlinkSync, writeSync } from "node:fs";
import type { Readable, Writable } from "node:stream";

import type { DescriptorKeeper } from "../../base/descriptor-keeper.ts";
import { errorCode } from "../../base/error-code.ts";
import { SpriteError } from "../../contract/errors.ts";
import type { Command, ExitStatus, PipeProcess, ProcessRecord } from "../process.ts";
import type { FifoDirectory } from "./fifo-directory.ts";
import { fifoReader, fifoWriter } from "./fifo-streams.ts";
import { launchTimeoutMs } from "./limits.ts";
import type { ProcessGroups } from "./process-groups.ts";
import { executableCandidates } from "./shell-text.ts";
import type { Spawner } from "./spawner.ts";
import { readStatusLines } from "./status-lines.ts";

export interface PipeLaunch {
  fifos: FifoDirectory;
  keeper: DescriptorKeeper;
  spawner: Spawner;
  groups: ProcessGroups;
  command: Command;
  startText: string;
  stdin: boolean;
}

/**
 * Starts a command through the spawner. Null when the spawner or its child was gone before the
 * command began, in which case the command will never begin, so that another try cannot run it
 * twice.
 * @throws SpriteError deadline_exceeded
 */
export async function launchPipeProcess(launch: PipeLaunch): Promise<PipeProcess | null> {
  const { fifos, spawner, command } = launch;
  const slot = await fifos.takeSlot();
  const ends = openEnds(fifos, slot);
  fifos.writeStart(slot, launch.startText);

  const began = Promise.withResolvers<{ pid: number; index: number } | null>();
  const exited = Promise.withResolvers<ExitStatus>();
  let timedOut = false;
  const status = readStatusLines(ends.status, {
    onLine: (line) => {
      if (line.type === "started") began.resolve(line);
      if (line.type === "exited") exited.resolve({ kind: "exited", code: line.code });
    },
    onEnd: () => {
      began.resolve(null);
      exited.resolve({ kind: "lost", reason: "nobody saw how the command ended" });
    },
  });
  const removeEndListener = spawner.onEnd(giveUp);
  const timer = setTimeout(() => {
    timedOut = true;
    giveUp();
    // A spawner that the guest has stopped would keep every later command waiting too.
    spawner.stop();
  }, launchTimeoutMs);
  spawner.requestStart(slot, { stdin: launch.stdin });

  const beginning = await began.promise;
  clearTimeout(timer);
  removeEndListener();
  let stdin: Writable | null = null;
  if (launch.stdin && beginning !== null) {
    stdin = connectInput({ ...launch, slot, holder: ends.stdinHolder, pid: beginning.pid });
  }
  closeSync(ends.stdinHolder);
  fifos.forget(slot, ["in", "start"]);
  if (beginning === null) {
    fifos.forget(slot);
    for (const stream of [ends.stdout, ends.stderr]) stream.destroy();
    status.close();
    if (timedOut) throw new SpriteError("deadline_exceeded", "the command did not begin in time");
    return null;
  }
  void exited.promise.then(() => spawner.requestReap());
  return new FifoProcess({
    record: {
      kind: "pipes",
      slot,
      pid: beginning.pid,
      executable: executableCandidates(command)[beginning.index] ?? null,
      hostPid: 0,
    },
    exited: exited.promise,
    streams: { ...ends, stdin },
    parts: launch,
  });

  /**
   * With its start file gone nobody can begin the command any more. If nobody has, the status FIFO
   * shows its end now; if somebody has, he holds it open.
   */
  function giveUp(): void {
    fifos.forget(slot, ["start"]);
    fifos.showEnd(slot, "status");
  }
}

/**
 * Goes on with a command whose agent has died. Its output since then waits in the FIFOs, unless it
 * has ended: null then, since nobody knows how.
 */
export function adoptPipeProcess(record: ProcessRecord, parts: FifoParts): PipeProcess | null {
  const { fifos, keeper } = parts;
  const { slot } = record;
  const input = keeper.take(inputKey(slot));
  const exited = Promise.withResolvers<ExitStatus>();
  try {
    const streams = {
      stdin: input === null ? null : fifoWriter(input),
      stdout: fifoReader(fifos.openReader(slot, "out")),
      stderr: fifoReader(fifos.openReader(slot, "err")),
    };
    readStatusLines(fifos.openReader(slot, "status"), {
      onLine: (line) => {
        if (line.type === "exited") exited.resolve({ kind: "exited", code: line.code });
      },
      onEnd: () => exited.resolve({ kind: "lost", reason: "nobody saw how the command ended" }),
    });
    // Those that nobody holds any more show no end by themselves.
    for (const suffix of ["out", "err", "status"] as const) fifos.showEnd(slot, suffix);
    return new FifoProcess({ record, exited: exited.promise, streams, parts });
  } catch (error) {
    if (errorCode(error) !== "ENOENT") throw error;
    return null;
  }
}

/** Its name among the kept descriptors: what a command reads would end with its last writer. */
function inputKey(slot: number): string {
  return `input-${slot}`;
}

interface Ends {
  /** Keeps the input FIFO open for the command's side until that has opened it. */
  stdinHolder: number;
  stdout: Readable;
  stderr: Readable;
  status: number;
}

/** Opens our ends first, so that the command's opens never wait. */
function openEnds(fifos: FifoDirectory, slot: number): Ends {
  return {
    stdinHolder: fifos.openHolder(slot, "in"),
    stdout: fifoReader(fifos.openReader(slot, "out")),
    stderr: fifoReader(fifos.openReader(slot, "err")),
    status: fifos.openReader(slot, "status"),
  };
}

/**
 * Gives the command its input and lets it go on. A command that was not found has already gone,
 * with its end of the pipe.
 */
function connectInput(options: {
  fifos: FifoDirectory;
  keeper: DescriptorKeeper;
  groups: ProcessGroups;
  slot: number;
  holder: number;
  pid: number;
}): Writable {
  const { fifos, keeper, groups, slot, holder, pid } = options;
  const pipe = openInputPipe(groups.insidePath(`proc/${pid}/fd/0`));
  const end = pipe ?? fifos.openWriter(slot, "in");
  keeper.keep(inputKey(slot), end);
  const writer = fifoWriter(end);
  writeSync(holder, pipe === null ? "fifo\n" : "pipe\n");
  return writer;
}

/**
 * The writing end of the pipe that a process has as its input. The guest may have put anything
 * there, but only into its own reach, and nothing but a pipe is kept open.
 */
function openInputPipe(path: string): number | null {
  try {
    if (!readlinkSync(path).startsWith("pipe:")) return null;
    const fd = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
    if (fstatSync(fd).isFIFO()) return fd;
    closeSync(fd);
    return null;
  } catch {
    // The process has gone already, or the guest hides its /proc.
    return null;
  }
}

interface Streams {
  stdin: Writable | null;
  stdout: Readable;
  stderr: Readable;
}

interface FifoParts {
  fifos: FifoDirectory;
  keeper: DescriptorKeeper;
  groups: ProcessGroups;
}

class FifoProcess implements PipeProcess {
  readonly record: ProcessRecord;
  readonly exited: Promise<ExitStatus>;
  readonly stdin: Writable | null;
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly #groups: ProcessGroups;
  #ended = false;

  constructor(options: {
    record: ProcessRecord;
    exited: Promise<ExitStatus>;
    streams: Streams;
    parts: FifoParts;
  }) {
    const { record, exited, streams, parts } = options;
    this.record = record;
    this.stdin = streams.stdin;
    this.stdout = streams.stdout;
    this.stderr = streams.stderr;
    this.#groups = parts.groups;
    const releaseInput = (): void => parts.keeper.release(inputKey(record.slot));
    this.stdin?.once("close", releaseInput);
    this.exited = exited.then((status) => {
      // With its waiter gone the command may still run, and nobody would ever hear of it again.
      if (status.kind === "lost") this.kill("SIGKILL");
      this.#ended = status.kind === "exited";
      parts.fifos.forget(record.slot);
      if (this.stdin !== null && !this.stdin.closed) releaseInput();
      return status;
    });
  }

  get pid(): number {
    return this.record.pid;
  }

  get executable(): string | null {
    return this.record.executable;
  }

  kill(signal: NodeJS.Signals): void {
    if (this.#ended) return;
    this.#groups.signal(this.pid, signal);
  }

  killOne(signal: NodeJS.Signals): void {
    if (!this.#ended) this.#groups.signalOne(this.pid, signal);
  }

  killAll(signal: NodeJS.Signals | 0, others: readonly number[] = []): number {
    return this.#groups.signalFamily([this.pid, ...others], signal);
  }
}
