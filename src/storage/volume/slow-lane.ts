/** The slow lane's thread: the engine behind messages, and the FUSE requests that the fast lane forwards. */
import { parentPort, type MessagePort } from "node:worker_threads";
import { assert, must } from "../../base/assert.ts";
import { keepCompiledCode } from "../../base/node-process.ts";
import { trimMemoryRegularly } from "../../base/trim-memory.ts";
import { SpriteError } from "../../contract/errors.ts";
import { FuseServer } from "../fuse/fuse-server.ts";
import { becomeIoFlusher } from "../io-flusher.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { openObjectStore } from "../object-store/open-object-store.ts";
import type { VolumeEngine } from "./engine.ts";
import { OpeningVolume } from "./opening-volume.ts";
import {
  toWire,
  type CallMessage,
  type CallName,
  type CallResult,
  type LaneMessage,
  type SlowLaneCalls,
} from "./rpc.ts";
import { PatientFile } from "./patient-file.ts";
import type { CheckpointRecord } from "./volume.ts";

type Handlers = {
  [Name in CallName]: (
    ...args: Parameters<SlowLaneCalls[Name]>
  ) => CallResult<Name> | Promise<CallResult<Name>>;
};

class SlowLane {
  readonly #port: MessagePort;
  #opening: OpeningVolume | null = null;
  #store: ObjectStore | null = null;
  #server: FuseServer | null = null;
  #patient: PatientFile | null = null;
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

  get #opened(): OpeningVolume {
    return must(this.#opening, "the volume is open");
  }

  /** All but the disk itself waits for the map. */
  get #volume(): Promise<VolumeEngine> {
    return this.#opened.engine;
  }

  readonly #handlers: Handlers = {
    open: async (options) => {
      assert(this.#opening === null, "a lane opens one volume");
      const store = await openObjectStore(options.bucket);
      this.#store = store;
      this.#opening = await OpeningVolume.open({
        ...options,
        store,
        onProblem: (problem) => this.#report(problem),
      });
      const { formatted, local } = this.#opening;
      const { cache } = local;
      return { formatted, files: cache.files, buffers: cache.state.buffers };
    },
    serve: async ({ fuseDescriptor, fastLane, shown }) => {
      const live = new PatientFile(this.#opened.live);
      this.#patient = live;
      const server = new FuseServer({
        fuseDescriptor,
        live,
        onError: (operation, error) => this.#reportFailure(operation, error),
      });
      for (const id of shown) server.show(id, (await this.#volume).showCheckpoint(id));
      this.#server = server;
      this.#fastLane = fastLane;
      keepCompiledCode();
      fastLane.on("message", (request: Uint8Array) => void server.handle(request));
    },
    stopServing: () => {
      this.#fastLane?.close();
      this.#fastLane = null;
      this.#server = null;
      if (this.#patient !== null) this.#patient.isPatient = false;
      this.#patient = null;
    },
    markFormatted: async () => (await this.#volume).markFormatted(),
    sync: async () => (await this.#volume).sync(),
    setDurability: async (durability) => (await this.#volume).setDurability(durability),
    relaxFlushes: (isRelaxed) => {
      // The same holds for reads: whoever waits for the bucket in one cannot end.
      if (this.#patient !== null) this.#patient.isPatient = !isRelaxed;
      return this.#opened.relaxFlushes(isRelaxed);
    },
    beginCheckpoint: async (options) => {
      const { completed } = await (await this.#volume).beginCheckpoint(options);
      const ticket = this.#nextTicket++;
      this.#checkpoints.set(ticket, completed);
      return { ticket };
    },
    completeCheckpoint: async (ticket) => {
      const completed = must(this.#checkpoints.get(ticket), "the checkpoint was begun");
      this.#checkpoints.delete(ticket);
      return await completed;
    },
    listCheckpoints: async () => (await this.#volume).listCheckpoints(),
    deleteCheckpoint: async (id) => {
      await (await this.#volume).deleteCheckpoint(id);
      this.#server?.hide(id);
    },
    setCheckpointHealth: async (id, health) => (await this.#volume).setCheckpointHealth(id, health),
    restore: async (id) => (await this.#volume).restore(id),
    showCheckpoint: async (id) => {
      const file = (await this.#volume).showCheckpoint(id);
      if (this.#server === null) throw new SpriteError("conflict", "the volume is not mounted");
      this.#server.show(id, file);
    },
    hideCheckpoint: async (id) => {
      this.#server?.hide(id);
      (await this.#volume).hideCheckpoint(id);
    },
    statistics: async () => (await this.#volume).statistics(),
    bucketUse: () => must(this.#store, "the volume is open").statistics(),
    close: (options) => this.#opened.close(options),
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
await becomeIoFlusher();
new SlowLane(must(parentPort, "the slow lane is a worker thread")).listen();
