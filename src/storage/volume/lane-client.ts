/** The facade's end of the slow lane: calls by name, with results as promises. */
import { Worker, type MessagePort } from "node:worker_threads";
import { SpriteError } from "../../contract/errors.ts";
import {
  fromWire,
  type CallArguments,
  type CallMessage,
  type CallName,
  type CallResult,
  type LaneMessage,
} from "./rpc.ts";

interface Pending {
  resolve: (value: unknown) => void;
  reject: (error: Error) => void;
}

/** One that has begun to load its code, for the next client. */
let prepared: Worker | null = null;

/** For a process that is to open a volume as soon as it hears of which. */
export function prepareSlowLane(): void {
  prepared = startLane();
}

function startLane(program = new URL("slow-lane.ts", import.meta.url)): Worker {
  return new Worker(program, {
    name: "slow lane",
    resourceLimits: { maxOldGenerationSizeMb: 128, maxYoungGenerationSizeMb: 8 },
  });
}

function takePreparedLane(): Worker | null {
  const taken = prepared;
  prepared = null;
  return taken;
}

export class LaneClient {
  readonly #worker: Worker;
  readonly #pending = new Map<number, Pending>();
  #nextId = 1;
  #ended: Error | null = null;

  constructor(options: {
    onProblem: (problem: Error | null) => void;
    onCrash: (error: Error) => void;
    /** Another program in the lane's place, to inject a fault. */
    program?: URL;
  }) {
    const ahead = options.program === undefined ? takePreparedLane() : null;
    this.#worker = ahead ?? startLane(options.program);
    this.#worker.on("message", (message: LaneMessage) => {
      if (message.type === "problem") {
        options.onProblem(message.problem === null ? null : fromWire(message.problem));
      } else if (message.type === "result") {
        this.#take(message.id)?.resolve(message.value);
      } else {
        this.#take(message.id)?.reject(fromWire(message.error));
      }
    });
    this.#worker.on("error", (error) => {
      this.#end(new SpriteError("storage_failure", "the volume's thread failed", { cause: error }));
      options.onCrash(error instanceof Error ? error : new Error(String(error)));
    });
    this.#worker.on("exit", () => {
      this.#end(new SpriteError("unavailable", "the volume is closed"));
    });
  }

  call<Name extends CallName>(
    name: Name,
    args: CallArguments<Name>,
    transfer: readonly MessagePort[] = [],
  ): Promise<CallResult<Name>> {
    if (this.#ended !== null) return Promise.reject(this.#ended);
    const id = this.#nextId++;
    const message: CallMessage = { id, name, args };
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve: (value) => resolve(value as CallResult<Name>), reject });
      this.#worker.postMessage(message, transfer);
    });
  }

  async terminate(): Promise<void> {
    await this.#worker.terminate();
  }

  #take(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    return pending;
  }

  #end(error: Error): void {
    this.#ended ??= error;
    for (const { reject } of this.#pending.values()) reject(this.#ended);
    this.#pending.clear();
  }
}
