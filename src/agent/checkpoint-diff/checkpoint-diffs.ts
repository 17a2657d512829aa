/** Comparing checkpoints, or one with the live disk, without restoring anything. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdir, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import type { Log } from "../../base/log.ts";
import { nodeProcess } from "../../base/node-process.ts";
import { settlesWithin } from "../../base/wait.ts";
import { SpriteError } from "../../contract/errors.ts";
import { plainEnvironment } from "../../host/command.ts";
import type { HostHelper } from "../../host/host-helper.ts";
import { mountPoints } from "../../host/mount-points.ts";
import type { ShownCheckpoints } from "../shown-checkpoints.ts";
import { mountStill } from "../still-mount.ts";
import type { DiffStart } from "./diff-start.ts";
import { differencesMax, errorTextLengthMax, processEndMsMax } from "./limits.ts";

/** Below the run directory; views of checkpoints have another one. */
const directoryName = "compared";

const program = fileURLToPath(new URL("./diff-process.ts", import.meta.url));

export interface CheckpointDiffsOptions {
  helper: HostHelper;
  shown: ShownCheckpoints;
  imageDirectory: string;
  runDirectory: string;
  /** Where the live disk is mounted. */
  liveDirectory: string;
  /** Waits until a container runs: while it is being replaced, so may be the disk. @throws SpriteError */
  enter: () => Promise<object>;
  log: Log;
}

interface Running {
  child: ChildProcess | null;
  isStopped: boolean;
  done: Promise<void>;
}

export class CheckpointDiffs {
  readonly #options: CheckpointDiffsOptions;
  readonly #running = new Set<Running>();
  /** Containers that end, or have. */
  readonly #ended = new WeakSet<object>();
  #count = 0;

  constructor(options: CheckpointDiffsOptions) {
    this.#options = options;
  }

  /**
   * Calls back with NDJSON as it is found, and resolves once all was taken.
   * @param options ids of checkpoints; null is the live disk
   * @throws SpriteError busy, unavailable (the container is being replaced), conflict (its file system was not at rest)
   */
  async run(
    options: { from: string | null; to: string | null; signal: AbortSignal },
    onText: (text: Buffer) => Promise<void>,
  ): Promise<void> {
    const sandbox = await this.#options.enter();
    if (this.#ended.has(sandbox)) throw brokenOff();
    if (this.#running.size >= differencesMax) {
      throw new SpriteError("busy", `more than ${differencesMax} comparisons at a time`);
    }
    const settled = Promise.withResolvers<void>();
    const running: Running = { child: null, isStopped: false, done: settled.promise };
    this.#running.add(running);
    const stop = (): void => stopRunning(running);
    options.signal.addEventListener("abort", stop, { once: true });
    try {
      await this.#withTree(options.from, async (before) => {
        await this.#withTree(options.to, async (after) => {
          const { imageDirectory } = this.#options;
          await this.#compare({ imageDirectory, before, after }, running, onText);
        });
      });
    } finally {
      options.signal.removeEventListener("abort", stop);
      this.#running.delete(running);
      settled.resolve();
    }
  }

  /** Clears up what an agent that died had mounted for it, in the mount namespace that is ours now. */
  async clearRemains(): Promise<void> {
    const { helper, runDirectory, log } = this.#options;
    const directory = join(runDirectory, directoryName);
    for (const target of mountPoints().filter((path) => path.startsWith(`${directory}/`))) {
      await helper.run({ type: "unmount", target, lazy: true }).catch((error: unknown) => {
        log.warn({ err: error, target }, "a compared checkpoint stays mounted");
      });
    }
  }

  /** Breaks off all of them, and lets nobody begin: the live disk is about to be unmounted. */
  async end(sandbox: object): Promise<void> {
    this.#ended.add(sandbox);
    const all = [...this.#running];
    for (const running of all) stopRunning(running);
    await Promise.all(all.map(({ done }) => done));
  }

  /** Runs the body with where a checkpoint's own layer lies, or the live disk's. */
  async #withTree(id: string | null, body: (layer: string) => Promise<void>): Promise<void> {
    const { helper, shown, liveDirectory, runDirectory, log } = this.#options;
    if (id === null) return await body(join(liveDirectory, "upper"));
    const target = join(runDirectory, directoryName, String(++this.#count));
    const backingFile = await shown.show(id);
    let isMounted = false;
    try {
      await mkdir(target, { recursive: true });
      const mount = { backingFile, target, toleratesErrors: true };
      await mountStill(helper, mount, (reason) => unreadable(id, reason));
      isMounted = true;
      await body(join(target, "upper"));
    } finally {
      // Whatever fails here ends with the agent's mount namespace at the latest.
      const clear = async (): Promise<void> => {
        if (isMounted) await helper.run({ type: "unmount", target, lazy: true });
        await rmdir(target);
        await shown.hide(id);
      };
      await clear().catch((error: unknown) => {
        log.warn({ err: error, checkpoint: id }, "a compared checkpoint stays mounted");
      });
    }
  }

  async #compare(
    start: DiffStart,
    running: Running,
    onText: (text: Buffer) => Promise<void>,
  ): Promise<void> {
    if (running.isStopped) throw brokenOff();
    const { file, args, environment } = nodeProcess(program);
    // To read all, and the attributes in which overlays keep what a directory hides.
    const privileges = [
      "--bounding-set",
      "-all,+dac_read_search,+sys_admin",
      "--pdeathsig",
      "KILL",
    ];
    const child = spawn("setpriv", [...privileges, "--", file, ...args], {
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...plainEnvironment, ...environment },
      detached: true,
    });
    running.child = child;
    const exited = once(child, "exit");
    exited.catch(() => undefined);
    let said = "";
    child.stderr.on("data", (bytes: Buffer) => {
      said = `${said}${bytes.toString()}`.slice(-errorTextLengthMax);
    });
    child.stdin.on("error", () => undefined);
    child.stdin.write(`${JSON.stringify(start)}\n`);
    try {
      const output: AsyncIterable<Buffer> = child.stdout;
      for await (const bytes of output) await onText(bytes);
      const [code] = (await exited) as [number | null];
      if (running.isStopped) throw brokenOff();
      if (code !== 0) throw new Error(`the comparison ended with ${code}: ${said}`);
    } finally {
      child.kill("SIGKILL");
      const isGone = await settlesWithin(exited, processEndMsMax);
      if (!isGone) this.#options.log.error("the comparison hangs in the kernel");
    }
  }
}

function stopRunning(running: Running): void {
  running.isStopped = true;
  running.child?.kill("SIGKILL");
}

/** Restoring it replays its journal: only looking into it as it is would show less than it holds. */
function unreadable(id: string, reason: string): SpriteError {
  return new SpriteError(
    "conflict",
    `checkpoint ${id} can be restored, but not compared: ${reason}`,
  );
}

function brokenOff(): SpriteError {
  return new SpriteError("unavailable", "the comparison was broken off; try again");
}
