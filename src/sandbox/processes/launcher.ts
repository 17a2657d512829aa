import { join } from "node:path";

import type { Log } from "../../base/log.ts";
import type { DescriptorKeeper } from "../../base/descriptor-keeper.ts";
import { SpriteError } from "../../contract/errors.ts";
import type {
  AdoptedProcess,
  Command,
  Launcher,
  PipeProcess,
  ProcessRecord,
  TerminalProcess,
  TerminalSize,
} from "../process.ts";
import { endAbandonedEntries } from "./abandoned-entries.ts";
import { FifoDirectory } from "./fifo-directory.ts";
import { launchAttemptsMax, zygoteDelayMs, zygoteRefillDelayMs } from "./limits.ts";
import { adoptPipeProcess, launchPipeProcess } from "./pipe-process.ts";
import { ProcessGroups } from "./process-groups.ts";
import { ContainerEntry, type ContainerAccess } from "./container-entry.ts";
import { pipeStartFile } from "./shell-text.ts";
import { Spawner } from "./spawner.ts";
import { adoptTerminal, Zygote, type ZygoteParts } from "./zygote.ts";

export interface LauncherOptions extends ContainerAccess {
  /** First host id of the container's user namespace. */
  hostIdBase: number;
  /** What the container sees at `insideDirectory`; without it `<runDirectory>/exec`. */
  fifoDirectory?: string | undefined;
  /** Has kept what commands need when this process dies. */
  keeper: DescriptorKeeper;
  log: Log;
}

export interface ContainerLauncher extends Launcher {
  /** Makes the FIFO directory, which the container must see when it starts, and what the first commands need. */
  prepare(): Promise<void>;
  /**
   * Called when the container runs, with the host's id of its first process: enters it.
   * @throws SpriteError unavailable
   */
  start(initPid: number): Promise<void>;
  /**
   * In place of `prepare` and `start`, in a container whose agent has died, with those of its
   * commands that are to be adopted.
   */
  adopt(initPid: number, records: readonly ProcessRecord[]): void;
  /** Goes on with one of them; null when it is gone. */
  adoptProcess(record: ProcessRecord): AdoptedProcess | null;
  /** Whether anybody inside accepts connections at a TCP port. */
  isListening(port: number): boolean;
  /** Ends what was started ahead. Commands end with their container. */
  stop(): Promise<void>;
}

/** Makes the launcher of one container. */
export function createLauncher(options: LauncherOptions): ContainerLauncher {
  return new ProcessLauncher(options);
}

class ProcessLauncher implements ContainerLauncher {
  readonly #log: Log;
  readonly #entry: ContainerEntry;
  readonly #fifos: FifoDirectory;
  readonly #groups: ProcessGroups;
  readonly #keeper: DescriptorKeeper;
  readonly #runDirectory: string;
  #spawner: Promise<Spawner> | null = null;
  #zygote: Promise<Zygote> | null = null;
  #zygoteTimer: NodeJS.Timeout | null = null;
  #stopped = false;

  constructor(options: LauncherOptions) {
    this.#log = options.log;
    this.#entry = new ContainerEntry(options);
    this.#groups = new ProcessGroups(options.log);
    this.#keeper = options.keeper;
    this.#runDirectory = options.runDirectory;
    this.#fifos = new FifoDirectory(options.fifoDirectory ?? join(options.runDirectory, "exec"), {
      uid: options.hostIdBase + options.user.uid,
      gid: options.hostIdBase + options.user.gid,
    });
  }

  async prepare(): Promise<void> {
    this.#fifos.prepare();
    await this.#fifos.makeFirstSets();
  }

  async start(initPid: number): Promise<void> {
    this.#groups.connect(initPid);
    await this.#currentSpawner();
    this.#prepareZygote(zygoteDelayMs);
  }

  adopt(initPid: number, records: readonly ProcessRecord[]): void {
    this.#groups.connect(initPid);
    const slots = new Set(records.map(({ slot }) => slot));
    endAbandonedEntries(this.#runDirectory, slots);
    this.#groups.endUnknown(slots);
    this.#fifos.adopt(slots);
    // A guest that leaves no room for a spawner now is no reason to end the container.
    void this.#currentSpawner().catch((error: unknown) => {
      this.#log.warn({ err: error }, "commands cannot be started yet");
    });
    this.#prepareZygote(zygoteDelayMs);
  }

  adoptProcess(record: ProcessRecord): AdoptedProcess | null {
    const parts = this.#zygoteParts;
    if (record.kind === "terminal") {
      const process = adoptTerminal(record, parts);
      return process === null ? null : { kind: "terminal", process };
    }
    const process = adoptPipeProcess(record, parts);
    return process === null ? null : { kind: "pipes", process };
  }

  isListening(port: number): boolean {
    return this.#groups.isListening(port);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#zygoteTimer !== null) clearTimeout(this.#zygoteTimer);
    const [spawner, zygote] = await Promise.allSettled([this.#spawner, this.#zygote]);
    if (spawner.status === "fulfilled") spawner.value?.stop();
    if (zygote.status === "fulfilled") zygote.value?.stop();
    this.#spawner = null;
    this.#zygote = null;
    await this.#fifos.settled();
  }

  async launch(command: Command, options: { stdin: boolean }): Promise<PipeProcess> {
    const startText = pipeStartFile(command);
    for (let attempt = 0; attempt < launchAttemptsMax; attempt++) {
      const launched = await launchPipeProcess({
        fifos: this.#fifos,
        keeper: this.#keeper,
        spawner: await this.#currentSpawner(),
        groups: this.#groups,
        command,
        startText,
        stdin: options.stdin,
      });
      if (launched !== null) return launched;
      this.#log.warn({ attempt }, "a command did not begin: its spawner is gone");
    }
    throw new SpriteError("unavailable", "the sprite cannot start commands now");
  }

  async launchTerminal(command: Command, size: TerminalSize): Promise<TerminalProcess> {
    try {
      for (let attempt = 0; attempt < launchAttemptsMax; attempt++) {
        const zygote = await this.#takeZygote();
        const launched = await zygote.become(command, size);
        if (launched !== null) return launched;
        this.#log.warn({ attempt }, "a command did not begin: its terminal is gone");
      }
      throw new SpriteError("unavailable", "the sprite cannot open terminals now");
    } finally {
      this.#prepareZygote(zygoteRefillDelayMs);
    }
  }

  async #currentSpawner(): Promise<Spawner> {
    for (;;) {
      if (this.#stopped) throw new SpriteError("unavailable", "the sprite's container is stopping");
      const starting = (this.#spawner ??= this.#startSpawner());
      const spawner = await starting;
      if (!spawner.ended) return spawner;
      if (this.#spawner === starting) this.#spawner = null;
    }
  }

  async #startSpawner(): Promise<Spawner> {
    try {
      return await Spawner.start({ entry: this.#entry, fifos: this.#fifos, log: this.#log });
    } catch (error) {
      this.#spawner = null;
      throw error;
    }
  }

  get #zygoteParts(): ZygoteParts {
    return {
      entry: this.#entry,
      fifos: this.#fifos,
      groups: this.#groups,
      keeper: this.#keeper,
      runDirectory: this.#runDirectory,
      log: this.#log,
    };
  }

  /** The one that was started ahead, or a new one. */
  async #takeZygote(): Promise<Zygote> {
    if (this.#stopped) throw new SpriteError("unavailable", "the sprite's container is stopping");
    const waiting = this.#zygote;
    this.#zygote = null;
    const zygote = await waiting?.catch(() => null);
    if (zygote !== null && zygote !== undefined && !zygote.gone) return zygote;
    return await Zygote.start(this.#zygoteParts);
  }

  #prepareZygote(delayMs: number): void {
    if (this.#stopped || this.#zygoteTimer !== null) return;
    this.#zygoteTimer = setTimeout(() => {
      this.#zygoteTimer = null;
      if (this.#stopped || this.#zygote !== null) return;
      this.#zygote = Zygote.start(this.#zygoteParts);
      this.#zygote.catch((error: unknown) => {
        this.#log.warn({ err: error }, "no terminal could be opened ahead of its use");
      });
    }, delayMs).unref();
  }
}
