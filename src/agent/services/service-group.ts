import type { Log } from "../../base/log.ts";
import { settlesWithin } from "../../base/wait.ts";
import { SpriteError } from "../../contract/errors.ts";
import {
  httpPortConflict,
  sameDefinition,
  type ServiceDefinition,
} from "../../contract/service.ts";
import type { Command } from "../../sandbox/process.ts";
import { circleThrough, dependentsOf, startOrder } from "./dependencies.ts";
import { endSlackMs, stopMsDefault } from "./limits.ts";
import { LogWriter } from "./log-writer.ts";
import { Service, type Follower, type ServiceContainer } from "./service.ts";
import { ServiceLog } from "./service-log.ts";
import type { ServiceRecord, ServiceRecords } from "./service-records.ts";
import type { KeptService } from "./services-file.ts";
import { ServicesStore } from "./services-store.ts";

export interface ServiceGroupParts {
  container: ServiceContainer;
  whenAwake: () => Promise<void>;
  holdAwake: (because: string) => Promise<() => void>;
  records: ServiceRecords;
  commandOf: (definition: ServiceDefinition) => Command;
  /** Inside: where the definitions are, and the logs. */
  stateDirectory: string;
  logDirectory: string;
  log: Log;
}

/** The services of one container, from its start to its end. The next one's are another group. */
export class ServiceGroup {
  /** What was wrong with the definitions that were found; null when nothing was. */
  problem: string | null = null;
  readonly #parts: ServiceGroupParts;
  readonly #store: ServicesStore;
  readonly #writer: LogWriter;
  readonly #services = new Map<string, Service>();
  /** One change of the definitions at a time. */
  #change: Promise<unknown> = Promise.resolve();
  /** Its container is on its way out: nothing begins any more, and nothing is written down for the next. */
  #isEnding = false;

  constructor(parts: ServiceGroupParts) {
    const { container, stateDirectory, logDirectory, log } = parts;
    this.#parts = parts;
    this.#store = new ServicesStore({ launcher: container, directory: stateDirectory, log });
    this.#writer = new LogWriter({ launcher: container, directory: logDirectory, log });
  }

  /** Reads what services there are. @throws SpriteError */
  async load(): Promise<void> {
    const { services, problem } = await this.#store.load();
    this.problem = problem;
    for (const { definition, isStopped } of services) this.#add(definition, isStopped);
  }

  /** As after a boot: all that nobody has stopped, each when what it needs was started. */
  async startAll(): Promise<void> {
    const wanted = [...this.#services.values()].filter(({ isStopped }) => !isStopped);
    await this.#startInOrder(wanted);
  }

  /** Goes on with those of an agent that has died. */
  async adopt(records: readonly ServiceRecord[]): Promise<void> {
    const adopted: Promise<void>[] = [];
    const others: Service[] = [];
    for (const [name, service] of this.#services) {
      const record = records.find((candidate) => candidate.name === name);
      if (record !== undefined) adopted.push(service.adopt(record));
      else if (!service.isStopped) others.push(service);
    }
    const kept = new Map(this.list().map((service) => [service, service.isStopped]));
    await Promise.all(adopted);
    // The agent before had heard a start or a stop that it had no time to write down here.
    const isChanged = this.list().some((service) => service.isStopped !== kept.get(service));
    if (isChanged) await this.#changing(() => this.#save());
    await this.#startInOrder(others);
  }

  list(): Service[] {
    return [...this.#services.values()];
  }

  /** @throws SpriteError not_found */
  get(name: string): Service {
    const service = this.#services.get(name);
    if (service !== undefined) return service;
    throw new SpriteError("not_found", `service not found: ${name}`);
  }

  isListening(port: number): boolean {
    return this.#parts.container.isListening(port);
  }

  /** That of the port, or whichever has one; null when none does. */
  withHttpPort(port: number | null): Service | null {
    const fits = ({ definition: { httpPort } }: Service): boolean =>
      httpPort !== null && (port === null || httpPort === port);
    return this.list().find(fits) ?? null;
  }

  /**
   * Keeps a definition, new or in place of another. Resolves when it is on the disk; `start` then has
   * it run. @throws SpriteError invalid_request, conflict, disk_full, storage_failure
   */
  async define(definition: ServiceDefinition): Promise<Service> {
    return await this.#changing(async () => {
      const { name } = definition;
      this.#check(definition);
      const existing = this.#services.get(name);
      const isSame = existing !== undefined && sameDefinition(existing.definition, definition);
      if (!isSame || existing.isStopped) {
        await this.#save({ name, entry: { definition, isStopped: false } });
      }
      if (existing === undefined) return this.#add(definition, false);
      existing.definition = definition;
      existing.isStopped = false;
      return existing;
    });
  }

  /**
   * Starts it and what it needs. None of them counts as stopped any more.
   * @throws SpriteError not_found, conflict, disk_full, storage_failure
   */
  async start(name: string, follower: Follower | null = null): Promise<void> {
    const service = this.get(name);
    const needed = this.#order([name])
      .filter((one) => one !== name)
      .map((one) => this.get(one));
    const keep = this.#markWanted([...needed, service]);
    await this.#startInOrder(needed);
    await service.start(follower);
    await keep();
  }

  /** Ends it and starts it anew. @throws SpriteError not_found, conflict, disk_full, storage_failure */
  async restart(name: string): Promise<void> {
    const service = this.get(name);
    const keep = this.#markWanted([service]);
    await service.restart(stopMsDefault);
    await keep();
  }

  /** Whether it stays stopped; on the disk when this resolves. @throws SpriteError disk_full, storage_failure */
  async markStopped(service: Service, isStopped: boolean): Promise<void> {
    if (service.isStopped === isStopped) return;
    service.isStopped = isStopped;
    service.record();
    await this.#changing(() => this.#save());
  }

  /** Stops and forgets it. Its log stays. @throws SpriteError not_found, conflict, disk_full, storage_failure */
  async remove(name: string, timeoutMs: number): Promise<void> {
    const service = this.get(name);
    const dependents = dependentsOf(this.#definitions().values(), name);
    if (dependents.length > 0) {
      const message = `service ${name} is needed by ${dependents.join(", ")}`;
      throw new SpriteError("conflict", message, { details: { needed_by: dependents } });
    }
    if (service.isRemoving) throw new SpriteError("conflict", `service ${name} is being deleted`);
    service.isRemoving = true;
    try {
      await service.stop(timeoutMs);
      await service.log.flushed();
      await this.#changing(() => this.#save({ name, entry: null }));
    } catch (error) {
      service.isRemoving = false;
      throw error;
    }
    this.#services.delete(name);
    if (!this.#isEnding) this.#parts.records.remove(name);
    service.markGone();
  }

  /** Ends all of them, each before what it needs, and for good. */
  async end(timeoutMs: number): Promise<void> {
    this.#isEnding = true;
    const deadlineMs = performance.now() + timeoutMs;
    const ends = new Map<string, Promise<void>>();
    for (const name of this.#order(this.#services.keys()).toReversed()) {
      const dependents = dependentsOf(this.#definitions().values(), name);
      const service = this.get(name);
      const end = settledOf(ends, dependents).then(async () => {
        await service.shutDown(Math.max(0, deadlineMs - performance.now()));
      });
      ends.set(name, end);
    }
    // One may be in the middle of a stop that somebody gave an hour: its container ends it.
    await settlesWithin(Promise.allSettled(ends.values()), timeoutMs + endSlackMs);
    const flushed = Promise.allSettled(this.list().map(({ log }) => log.flushed()));
    await settlesWithin(
      flushed.then(() => this.#writer.end()),
      endSlackMs,
    );
  }

  /**
   * None of them counts as stopped any more, in the order of the calls; what is returned writes that
   * down, once they have been started: nobody waits for the disk to see them start.
   */
  #markWanted(services: readonly Service[]): () => Promise<void> {
    const marked = services.filter(({ isStopped }) => isStopped);
    for (const service of marked) service.isStopped = false;
    return async () => {
      if (marked.length > 0) await this.#changing(() => this.#save());
    };
  }

  async #startInOrder(services: readonly Service[]): Promise<void> {
    if (this.#isEnding) return;
    const names = new Set(services.map(({ definition: { name } }) => name));
    const starts = new Map<string, Promise<void>>();
    for (const name of this.#order(names)) {
      if (!names.has(name)) continue;
      const service = this.get(name);
      // What fails to start tells so itself, and is tried again; an order is all that `needs` asks for.
      const start = settledOf(starts, service.definition.needs).then(() => service.start());
      starts.set(name, start);
    }
    await Promise.allSettled(starts.values());
  }

  #add(definition: ServiceDefinition, isStopped: boolean): Service {
    const {
      container,
      commandOf,
      whenAwake,
      holdAwake,
      logDirectory: directory,
      log,
    } = this.#parts;
    const { name } = definition;
    const serviceLog = new ServiceLog({
      name,
      writer: this.#writer,
      // A log is read by programs inside, which would wait for somebody else to wake the sprite.
      launcher: {
        launch: async (...command) => {
          const release = await holdAwake(`the log of service ${name}`);
          return await container.launch(...command).finally(release);
        },
      },
      directory,
    });
    const record = (written: ServiceRecord): void => {
      if (!this.#isEnding) this.#parts.records.write(written);
    };
    const parts = { container, record, commandOf, whenAwake, log: serviceLog, agentLog: log };
    const service = new Service(definition, isStopped, parts);
    this.#services.set(name, service);
    return service;
  }

  /** @throws SpriteError invalid_request, conflict */
  #check(definition: ServiceDefinition): void {
    const { name, needs, httpPort } = definition;
    if (this.#services.get(name)?.isRemoving === true) {
      throw new SpriteError("conflict", `service ${name} is being deleted`);
    }
    const unknown = needs.find((need) => need !== name && !this.#services.has(need));
    if (unknown !== undefined) {
      throw new SpriteError("invalid_request", `needs: there is no service ${unknown}`);
    }
    const circle = circleThrough(this.#definitions().set(name, definition), name);
    if (circle !== null) {
      throw new SpriteError("invalid_request", `needs: a circle: ${circle.join(" needs ")}`);
    }
    const owner = httpPort === null ? null : this.withHttpPort(null);
    if (owner !== null && owner.definition.name !== name) {
      throw httpPortConflict(owner.definition.name);
    }
  }

  #definitions(): Map<string, ServiceDefinition> {
    return new Map([...this.#services].map(([name, { definition }]) => [name, definition]));
  }

  #order(names: Iterable<string>): string[] {
    return startOrder(this.#definitions(), names);
  }

  /** Writes all of them down as they are now, or with one entry other than it is: null for one that goes. */
  async #save(change?: { name: string; entry: KeptService | null }): Promise<void> {
    const kept = new Map<string, KeptService>(this.#services);
    if (change?.entry === null) kept.delete(change.name);
    else if (change !== undefined) kept.set(change.name, change.entry);
    await this.#store.save(kept.values());
  }

  async #changing<T>(change: () => Promise<T>): Promise<T> {
    const turn = this.#change.then(change);
    this.#change = turn.catch(() => undefined);
    return await turn;
  }
}

/** Settles when those of the works have that there are. */
async function settledOf(
  works: ReadonlyMap<string, Promise<void>>,
  names: readonly string[],
): Promise<void> {
  await Promise.allSettled(names.flatMap((name) => works.get(name) ?? []));
}
