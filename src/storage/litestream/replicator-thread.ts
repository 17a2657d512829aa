/** The replicator's thread: SQLite and compression would hold up whoever serves requests. */
import { parentPort, workerData } from "node:worker_threads";
import { must } from "../../base/assert.ts";
import { keepCompiledCode } from "../../base/node-process.ts";
import { systemClock } from "../lease/clock.ts";
import { isServerAlive } from "../lease/server-record.ts";
import { openObjectStore } from "../object-store/open-object-store.ts";
import { toWire } from "../volume/rpc.ts";
import { databasePolicy } from "./policies.ts";
import type { DrainMessage, ReplicatorMessage, ReplicatorPlace } from "./replicator-messages.ts";
import { Replicator } from "./replicator.ts";
import { restoreMissing } from "./restore-missing.ts";

const port = must(parentPort, "the replicator runs in a thread of its own");
const place = workerData as ReplicatorPlace;

function post(message: ReplicatorMessage): void {
  port.postMessage(message);
}

async function begin(): Promise<Replicator> {
  const { bucket, directory, prefix, server } = place;
  const store = await openObjectStore(bucket);
  /** Finding out that a server is dead takes half a minute; at the start all databases ask for the same one. */
  const verdicts = new Map<string, Promise<boolean>>();
  const askOnce = async (other: string, signal?: AbortSignal): Promise<boolean> => {
    let verdict = verdicts.get(other);
    verdict ??= isServerAlive({ store, server: other, clock: systemClock, signal });
    verdicts.set(other, verdict);
    return await verdict;
  };
  const common = { store, directory, prefix, server, isServerAlive: askOnce };
  const restored = await restoreMissing({
    ...common,
    onSkipped: (name, error) => post({ type: "skipped", name, error: toWire(error) }),
  });
  const replicator = new Replicator({
    ...common,
    policy: databasePolicy,
    clock: systemClock,
    random: Math.random,
    onProblem: (name, problem) =>
      post({ type: "problem", name, problem: problem === null ? null : toWire(problem) }),
  });
  await replicator.prepare();
  verdicts.clear();
  post({ type: "ready", restored });
  replicator.run();
  return replicator;
}

const beginning = begin();
beginning.then(keepCompiledCode, (error: unknown) => {
  post({ type: "failed", error: toWire(error) });
});

port.once("message", ({ timeoutMs }: DrainMessage) => {
  void (async () => {
    const replicator = await beginning.catch(() => null);
    await replicator?.drain(AbortSignal.timeout(timeoutMs));
    post({ type: "drained" });
    port.close();
  })();
});
