/** One opening of a volume on one machine, from then until it is closed, dies, or nobody listens to it any more. */
import type { VolumeEngine } from "../../engine.ts";
import type { GuestModel } from "./guest-model.ts";
import type { Machine } from "./machine.ts";
import type { CrashKind, SimulatedProcess } from "./simulated-process.ts";

export type Outcome<T> =
  | { kind: "done"; value: T }
  | { kind: "failed"; error: Error }
  | { kind: "died"; crash: CrashKind };

/** Runs work in a process, and tells how it ended; the process's death is an end too. */
export async function attempt<T>(
  process: SimulatedProcess,
  work: () => Promise<T>,
): Promise<Outcome<T>> {
  const died = process.died.then((crash): Outcome<T> => ({ kind: "died", crash }));
  const ended = process.run(work).then(
    (value): Outcome<T> => ({ kind: "done", value }),
    (error: unknown): Outcome<T> => ({ kind: "failed", error: error as Error }),
  );
  const outcome = await Promise.race([ended, died]);
  // Code that a crash goes through as an exception may end a moment earlier than the process does.
  return outcome.kind === "failed" && process.isDead ? await died : outcome;
}

export class Session {
  readonly machine: Machine;
  readonly process: SimulatedProcess;
  readonly engine: VolumeEngine;
  model: GuestModel;
  /** The state that another machine has gone on from; null while nobody has. */
  supersededAt: number | null = null;
  /** Flushes promise no more than this machine's disk, whatever the volume's durability is. */
  isRelaxed = false;
  /** What was begun beside the guest's own operations. */
  readonly background = new Set<Promise<void>>();

  constructor(parts: Pick<Session, "machine" | "process" | "engine" | "model">) {
    this.machine = parts.machine;
    this.process = parts.process;
    this.engine = parts.engine;
    this.model = parts.model;
  }

  attempt<T>(work: (engine: VolumeEngine) => Promise<T>): Promise<Outcome<T>> {
    return attempt(this.process, () => work(this.engine));
  }

  async settle(): Promise<void> {
    await Promise.all(this.background);
  }

  inBackground(work: Promise<void>): void {
    const ended = work.finally(() => this.background.delete(ended));
    this.background.add(ended);
    ended.catch(() => undefined);
  }
}

/** The machine's disk has no room left. */
export function isDiskFull(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code } = error as NodeJS.ErrnoException;
  if (code === "disk_full" || code === "ENOSPC") return true;
  return error.cause !== undefined && isDiskFull(error.cause);
}

/** What goes wrong because the bucket does, or because others are there, is no fault of the volume. */
export function isExpected(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (error.message.includes("injected fault")) return true;
  return error.cause !== undefined && isExpected(error.cause);
}
