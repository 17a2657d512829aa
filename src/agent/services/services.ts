import type { Log } from "../../base/log.ts";
import { settlesWithin, waitUntil } from "../../base/wait.ts";
import { SpriteError } from "../../contract/errors.ts";
import type { ServiceDefinition } from "../../contract/service.ts";
import type { Command, ProcessRecord } from "../../sandbox/process.ts";
import { commandEnvironment, homeDirectory } from "../api/environment.ts";
import { listenMsMax, listenPollMs, loadedMsMax, stopAllMsMax } from "./limits.ts";
import type { ServiceContainer } from "./service.ts";
import { ServiceGroup } from "./service-group.ts";
import type { ServiceRecord, ServiceRecords } from "./service-records.ts";
import { markerVariable } from "./stray-processes.ts";

/** Where they lie inside; `/.sprite/logs` leads to the logs. */
export const guestDirectories = {
  stateDirectory: "/var/lib/sprite",
  logDirectory: "/var/log/sprite/services",
};

export interface ServicesParts {
  /** Settles when there is a container. @throws SpriteError why there is none */
  whenRunning: () => Promise<void>;
  /** Settles when the processes inside are not suspended. A crashed service is no reason to wake a sprite. */
  whenAwake: () => Promise<void>;
  /** Lets them go on, until what it gives is called: programs inside are needed for what somebody asks. */
  holdAwake: (because: string) => Promise<() => void>;
  records: ServiceRecords;
  /** The sprite's own variables, now. */
  environment: () => Readonly<Record<string, string>>;
  /** Tests have a container without /var. */
  directories?: { stateDirectory: string; logDirectory: string };
  log: Log;
}

interface Current {
  group: ServiceGroup;
  begin: () => Promise<void>;
  /** Settles when the definitions are read. */
  begun: Promise<void>;
}

/** A sprite's services, through all of its containers. */
export class Services {
  readonly #parts: ServicesParts;
  #found: ServiceRecord[] = [];
  #current: Current | null = null;
  #stopMs = stopAllMsMax;

  constructor(parts: ServicesParts) {
    this.#parts = parts;
  }

  /** What an agent that died has left of them; `onContainer` then goes on with it. */
  findRemains(): ProcessRecord[] {
    this.#found = this.#parts.records.read();
    return this.#found.flatMap((record) => (record.process === null ? [] : [record.process]));
  }

  /** Brings the services up in a container that has just begun to run, or goes on with those in it. */
  onContainer(container: ServiceContainer, { isAdopted }: { isAdopted: boolean }): void {
    const { records, log, directories, whenAwake, holdAwake } = this.#parts;
    const found = isAdopted ? this.#found : [];
    this.#found = [];
    if (!isAdopted) records.clear();
    const group = new ServiceGroup({
      ...{ container, records, whenAwake, holdAwake, log, ...guestDirectories, ...directories },
      commandOf: (definition) => this.#commandOf(definition),
    });
    const begin = async (): Promise<void> => {
      await group.load();
      const started = isAdopted ? group.adopt(found) : group.startAll();
      started.catch((error: unknown) => log.error({ err: error }, "services were not started"));
    };
    const current = { group, begin, begun: begin() };
    current.begun.catch((error: unknown) => {
      log.warn({ err: error }, "the sprite's services cannot be read");
    });
    this.#current = current;
  }

  /** Ends all of them, in order, because their container ends. */
  async end(): Promise<void> {
    const current = this.#current;
    this.#current = null;
    if (current === null) return;
    await settlesWithin(
      current.begun.catch(() => undefined),
      loadedMsMax,
    );
    await current.group.end(this.#stopMs);
  }

  /** From now on nobody waits for what they would still store. */
  hurry(): void {
    this.#stopMs = 0;
  }

  /** The services of the container there is, once they are known. @throws SpriteError */
  async group(): Promise<ServiceGroup> {
    await this.#parts.whenRunning();
    const current = this.#current;
    if (current === null)
      throw new SpriteError("unavailable", "the sprite's container is stopping");
    try {
      await current.begun;
    } catch {
      // What kept them from being read may be over.
      current.begun = current.begin();
      current.begun.catch(() => undefined);
      await current.begun;
    }
    return current.group;
  }

  /**
   * Has a service answer at its HTTP port: starts it if it does not run, and waits until it listens. Null
   * when no service has that port; `port` null means whichever there is.
   * @throws SpriteError start_failed, deadline_exceeded
   */
  async ensureListening(
    port: number | null,
    options: { timeoutMs?: number } = {},
  ): Promise<{ name: string; port: number } | null> {
    const group = await this.group();
    const service = group.withHttpPort(port);
    const ownPort = service?.definition.httpPort ?? null;
    if (service === null || ownPort === null) return null;
    const { name } = service.definition;
    if (service.state.status !== "running") await group.start(name);
    let error: string | null = null;
    const isDecided = (): boolean => {
      const { state } = service;
      if (state.status === "failed") error = state.error;
      return error !== null || group.isListening(ownPort);
    };
    const timeoutMs = options.timeoutMs ?? listenMsMax;
    const decided = await waitUntil(isDecided, { timeoutMs, intervalMs: listenPollMs });
    if (error !== null) {
      const message = `service ${name} does not run: ${String(error)}`;
      throw new SpriteError("start_failed", message, { details: { service: name } });
    }
    if (decided) return { name, port: ownPort };
    const message = `service ${name} does not listen at port ${ownPort}`;
    throw new SpriteError("deadline_exceeded", message, { details: { service: name } });
  }

  #commandOf(definition: ServiceDefinition): Command {
    const { name, cmd, args, env, dir } = definition;
    const environment = commandEnvironment({
      terminal: false,
      sprite: this.#parts.environment(),
      request: Object.entries(env),
    });
    const directory = dir ?? homeDirectory;
    return {
      argv: [cmd, ...args],
      path: cmd,
      environment: [...environment, [markerVariable, name]],
      directory: directory.startsWith("/") ? directory : `${homeDirectory}/${directory}`,
      // A guest that removed its home can still be served; whoever names a directory means it.
      ...(dir === null ? { fallbackDirectory: "/" } : {}),
    };
  }
}
