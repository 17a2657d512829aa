/** The slow lane's thread: the engine behind messages, and the FUSE requests that the fast lane forwards. */
import { parentPort, type MessagePort } from "node:worker_threads";
import { assert, must } from "../../base/assert.ts";
import { keepCompiledCode } from "../../base/node-process.ts";
import { trimMemoryRegularly } from "../../base/trim-memory.ts";
import { SpriteError } from "../../contract/errors.ts";
import { FuseServer } from "../fuse/fuse-server.ts";
import { openObjectStore } from "../object-store/open-object-store.ts";
import { VolumeEngine } from "./engine.ts";
import {
  toWire,
  type CallMessage,
  type CallName,
  type CallResult,
  type LaneMessage,
  type SlowLaneCalls,
} from "./rpc.ts";
import type { CheckpointRecord } from "./volume.ts";

type Handlers = {
  [Name in CallName]: (
    ...args: Parameters<SlowLaneCalls[Name]>
  ) => CallResult<Name> | Promise<CallResult<Name>>;
};

class SlowLane {
  readonly #port: MessagePort;
  #engine: VolumeEngine | null = null;
  #server: FuseServer | null = null;
  #fastLane: MessagePort | null = null;
  readonly #checkpoints = new Map<number, Promise<CheckpointRecord>>();
  #nextTicket = 1;

  constructor(port: MessagePort) {
    this.#port = port;
  }

  /** Answers calls from now on. */
  listen(): void {
    this.#port.on("message", (message: CallMessage) => void this.#answer(message));
  }

  async #answer({ id, name, args }: CallMessage): Promise<void> {
    try {
      const handler = this.#handlers[name] as (...args: unknown[]) => unknown;
      this.#post({ type: "result", id, value: await handler(...args) });
    } catch (error) {
      this.#post({ type: "error", id, error: toWire(error) });
    }
  }

  #post(message: LaneMessage): void {
    this.#port.postMessage(message);
  }

  #report(problem: Error | null): void {
    this.#post({ type: "problem", problem: problem === null ? null : toWire(problem) });
  }

  get #volume(): VolumeEngine {
    return must(this.#engine, "the volume is open");
  }

  readonly #handlers: Handlers = {
    open: async (options) => {
      assert(this.#engine === null, "a lane opens one volume");
      const store = await openObjectStore(options.bucket);
      this.#engine = await VolumeEngine.open({
        ...options,
        store,
        onProblem: (problem) => this.#report(problem),
      });
      const { cache } = this.#engine.local;
      const { formatted } = this.#engine;
      return { formatted, files: cache.files, buffers: cache.state.buffers };
    },
    serve: ({ fuseDescriptor, fastLane, shown }) => {
      const server = new FuseServer({
        fuseDescriptor,
        live: this.#volume.live,
        onError: (operation, error) => this.#reportFailure(operation, error),
      });
      for (const id of shown) server.show(id, this.#volume.showCheckpoint(id));
      this.#server = server;
      this.#fastLane = fastLane;
      keepCompiledCode();
      fastLane.on("message", (request: Uint8Array) => void server.handle(request));
    },
    stopServing: () => {
      this.#fastLane?.close();
      this.#fastLane = null;
      this.#server = null;
    },
    markFormatted: () => this.#volume.markFormatted(),
    sync: () => this.#volume.sync(),
    setDurability: (durability) => this.#volume.setDurability(durability),
    beginCheckpoint: async (options) => {
      const { completed } = await this.#volume.beginCheckpoint(options);
      const ticket = this.#nextTicket++;
      this.#checkpoints.set(ticket, completed);
      return { ticket };
    },
    completeCheckpoint: async (ticket) => {
      const completed = must(this.#checkpoints.get(ticket), "the checkpoint was begun");
      this.#checkpoints.delete(ticket);
      return await completed;
    },
    listCheckpoints: () => this.#volume.listCheckpoints(),
    deleteCheckpoint: async (id) => {
      await this.#volume.deleteCheckpoint(id);
      this.#server?.hide(id);
    },
    setCheckpointHealth: (id, health) => this.#volume.setCheckpointHealth(id, health),
    restore: (id) => this.#volume.restore(id),
    showCheckpoint: (id) => {
      if (this.#server === null) throw new SpriteError("conflict", "the volume is not mounted");
      this.#server.show(id, this.#volume.showCheckpoint(id));
    },
    hideCheckpoint: (id) => {
      this.#server?.hide(id);
      this.#volume.hideCheckpoint(id);
    },
    statistics: () => this.#volume.statistics(),
    close: (options) => this.#volume.close(options),
  };

  /**
   * The guest got an error; whoever looks after the volume hears why. A full disk is the guest's
   * own affair.
   */
  #reportFailure(operation: string, error: unknown): void {
    if ((error as NodeJS.ErrnoException).code === "ENOSPC") return;
    const reason = error instanceof Error ? error.message : String(error);
    this.#report(
      new SpriteError("storage_failure", `serve the disk (${operation}): ${reason}`, {
        cause: error,
      }),
    );
  }
}

trimMemoryRegularly();
new SlowLane(must(parentPort, "the slow lane is a worker thread")).listen();
