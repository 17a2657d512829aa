/** Open files that are to outlive this process: whoever started it keeps copies (contract/agent-startup.ts). */
import { closeSync } from "node:fs";

import {
  logDescriptorKey,
  type AgentStatus,
  type PassedDescriptor,
} from "../contract/agent-startup.ts";

export interface DescriptorKeeper {
  /** Has a copy of an open descriptor kept, in place of one of the same name. */
  keep(key: string, descriptor: number): void;
  /** Has the copy closed. */
  release(key: string): void;
  /** The one that was handed to this process under that name, once; its owner is now the caller. */
  take(key: string): number | null;
  /** Closes what was handed over and nobody has taken. */
  dropRest(): void;
}

export function createDescriptorKeeper(options: {
  passed: readonly PassedDescriptor[];
  say: (status: AgentStatus) => void;
}): DescriptorKeeper {
  const passed = new Map(options.passed.map(({ key, descriptor }) => [key, descriptor]));
  // Only held, for as long as the process lives.
  passed.delete(logDescriptorKey);
  return {
    keep: (key, descriptor) => options.say({ type: "keep", key, descriptor }),
    release: (key) => options.say({ type: "release", key }),
    take(key) {
      const descriptor = passed.get(key) ?? null;
      passed.delete(key);
      return descriptor;
    },
    dropRest() {
      for (const [key, descriptor] of passed) {
        closeSync(descriptor);
        options.say({ type: "release", key });
      }
      passed.clear();
    },
  };
}

/** For a process that nobody takes over from. */
export const noKeeper: DescriptorKeeper = {
  keep: () => undefined,
  release: () => undefined,
  take: () => null,
  dropRest: () => undefined,
};
