import type { Readable } from "node:stream";
import { OfferState, type AdoptionOffer } from "../contract/adoption.ts";
import type { AgentCommand, AgentStatus, PassedDescriptor } from "../contract/agent-startup.ts";
import { AdoptionSocket, type ServerLink } from "./adoption-socket.ts";
import { readJsonLines } from "./json-lines.ts";

const startupBytesMax = 4 * 2 ** 20;

/** The child's end of the control pipe (contract/agent-startup.ts): an agent's, or an image server's. */
export interface ControlPipe<Startup> {
  startup: Promise<Startup>;
  /**
   * Settles with the stop command. Until the child can outlive its server, the pipe's end means: stop
   * and store the disk.
   */
  stop: Promise<AgentCommand & { type: "stop" }>;
  say(status: AgentStatus): void;
  /**
   * From when it resolves, the end of the server is not the child's: it waits at the socket for the
   * next one, and stops by itself when none has come for so long.
   */
  outlive(options: {
    socketPath: string;
    /** Ms. */
    orphanMsMax: number;
    version: string;
    startup: () => AdoptionOffer["startup"];
  }): Promise<void>;
}

export function openControlPipe<Startup>(input: Readable = process.stdin): ControlPipe<Startup> {
  return new Pipe<Startup>(input);
}

class Pipe<Startup> implements ControlPipe<Startup> {
  readonly startup: Promise<Startup>;
  readonly stop: Promise<AgentCommand & { type: "stop" }>;
  readonly #started = Promise.withResolvers<Startup>();
  readonly #stopped = Promise.withResolvers<AgentCommand & { type: "stop" }>();
  /** What was passed is known from the first line on. */
  #offer = new OfferState([]);
  #isStarted = false;
  /** Whoever commands now; null: an orphan. */
  #server: ServerLink | null;
  #socket: AdoptionSocket | null = null;
  #orphanMsMax = 0;
  #isStopping = false;
  #timer: NodeJS.Timeout | null = null;
  readonly #stopNow = (): void => this.#stopped.resolve({ type: "stop", discard: false });

  constructor(input: Readable) {
    this.startup = this.#started.promise;
    this.stop = this.#stopped.promise;
    // A worker that is gone cannot read; what we say then is for nobody.
    process.stdout.on("error", () => undefined);
    const parent: ServerLink = {
      send: (line) => void (process.stdout.writable && process.stdout.write(line)),
      end: () => input.destroy(),
    };
    this.#server = parent;
    readJsonLines(input, {
      lineBytesMax: startupBytesMax,
      onValue: (value) => (this.#isStarted ? this.#obey(value, parent) : this.#begin(value)),
      onOther: () => undefined,
    });
    const onEnd = (): void => {
      if (!this.#isStarted) {
        this.#started.reject(new Error("the control pipe ended before the configuration"));
      }
      this.#onServerGone(parent);
    };
    input.on("end", onEnd);
    input.on("error", onEnd);
    this.startup.catch(() => undefined);
  }

  /** Handed around by itself. */
  readonly say = (status: AgentStatus): void => {
    this.#offer.note(status);
    const line = `${JSON.stringify(status)}\n`;
    this.#server?.send(line);
    this.#socket?.tellOthers(line, this.#server);
  };

  async outlive(options: Parameters<ControlPipe<Startup>["outlive"]>[0]): Promise<void> {
    const { socketPath, orphanMsMax, version, startup } = options;
    const socket = new AdoptionSocket({
      offer: () => this.#offer.offer({ pid: process.pid, version, startup: startup() }),
      onCommand: (command, from) => this.#obey(command, from),
      onGone: (server) => this.#onServerGone(server),
    });
    // Without any time it ends with its server, as before this.
    if (orphanMsMax === 0) return;
    await socket.listen(socketPath);
    this.#orphanMsMax = orphanMsMax;
    this.#socket = socket;
    void this.stop.then(() => {
      this.#isStopping = true;
      if (this.#timer !== null) clearTimeout(this.#timer);
      socket.close();
    });
  }

  #begin(value: unknown): void {
    this.#isStarted = true;
    // How a server that cannot adopt it ends it in order, and a machine that shuts down.
    process.on("SIGTERM", this.#stopNow);
    const { descriptors } = value as { descriptors?: readonly PassedDescriptor[] };
    this.#offer = new OfferState(descriptors ?? []);
    this.#started.resolve(value as Startup);
  }

  #obey(command: unknown, from: ServerLink): void {
    const { type, discard } = command as { type?: unknown; discard?: unknown };
    if (type === "adopt" && from !== this.#server) {
      // There is one server at a time: the one before has ended, also if we have yet to hear of it.
      const before = this.#server;
      this.#server = from;
      before?.end();
      if (this.#timer !== null) clearTimeout(this.#timer);
      this.#timer = null;
    }
    if (type === "stop") this.#stopped.resolve({ type, discard: discard === true });
  }

  #onServerGone(server: ServerLink): void {
    if (server !== this.#server || this.#isStopping) return;
    this.#server = null;
    if (this.#socket === null) this.#stopNow();
    else this.#timer = setTimeout(this.#stopNow, this.#orphanMsMax);
  }
}
