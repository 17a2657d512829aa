/** How we start a Node process of our own: with as little memory and in as little time as it can. */
import { flushCompileCache } from "node:module";

export interface NodeProcess {
  file: string;
  args: string[];
  /** To be added to whatever environment the process gets. */
  environment: Record<string, string>;
}

/** Chosen by measurement on an agent with two threads and an idle guest. */
const flags = [
  "--disable-warning=ExperimentalWarning",
  // Per isolate. The default of 16 MiB lets garbage lie around that is dead within milliseconds.
  "--max-semi-space-size=1",
  // Each thread of V8's pool costs a stack and an arena; one is enough for what is compiled and
  // collected here.
  "--v8-pool-size=1",
];

/**
 * One arena: our threads allocate little outside V8, and each arena more keeps pages that are never
 * given back.
 */
const environment = { MALLOC_ARENA_MAX: "1" };

const cacheVariable = "NODE_COMPILE_CACHE";

export function nodeProcess(modulePath: string): NodeProcess {
  const cache = process.env[cacheVariable];
  return {
    file: process.execPath,
    args: [...flags, modulePath],
    environment: { ...environment, ...(cache === undefined ? {} : { [cacheVariable]: cache }) },
  };
}

/**
 * Writes what this thread compiled to the cache that bin/node24 chose. Node does so too when a
 * thread ends in order, but ours live long and may be killed: each does it once it is up, for those
 * that start after it. Quick when all of it came from there.
 */
export function keepCompiledCode(): void {
  flushCompileCache();
}
