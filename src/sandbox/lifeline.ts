/**
 * What ties a container's life to this process, and to whoever keeps a copy for it: a FIFO whose
 * reading end is the first process's standard input. When all of them have ended, by whatever
 * signal, the kernel closes the other end, the first process reads the end of its input and exits.
 */
import { closeSync, constants, openSync, rmSync, writeSync } from "node:fs";

import type { DescriptorKeeper } from "../base/descriptor-keeper.ts";
import type { HostHelper } from "../host/host-helper.ts";

/** Its name among the kept descriptors. */
const key = "lifeline";

export interface Lifeline {
  /** For the first process. */
  readonly readEnd: number;
  /** Once the first process has inherited it. */
  closeReadEnd(): void;
  /** A line that the first process reads. */
  say(line: string): void;
  /** Lets go: the first process ends by itself. */
  close(): void;
}

export async function createLifeline(
  path: string,
  helper: HostHelper,
  keeper: DescriptorKeeper,
): Promise<Lifeline> {
  rmSync(path, { force: true });
  // Owned by the host's root, which does not exist inside: no guest can open it through /proc and
  // keep itself alive.
  await helper.run({ type: "make_fifos", paths: [path], mode: 0o600, userId: 0, groupId: 0 });
  // Opened for both directions, a FIFO does not wait for the other side.
  const held = openSync(path, constants.O_RDWR);
  keeper.keep(key, held);
  const readEnd = openSync(path, constants.O_RDONLY);
  const open = new Set([held, readEnd]);
  const close = (descriptor: number): void => {
    if (open.delete(descriptor)) closeSync(descriptor);
  };
  return {
    readEnd,
    closeReadEnd: () => close(readEnd),
    // It is short, and nothing else is ever written there: it never waits.
    say: (line) => void writeSync(held, `${line}\n`),
    close: () => {
      close(readEnd);
      close(held);
      keeper.release(key);
    },
  };
}

/** That of a container whose agent has died; null when it was not kept. */
export function adoptLifeline(keeper: DescriptorKeeper): Pick<Lifeline, "close"> | null {
  const held = keeper.take(key);
  if (held === null) return null;
  return {
    close: () => {
      closeSync(held);
      keeper.release(key);
    },
  };
}
