/**
 * The file that keeps a sprite's services on its own disk (docs/formats/services.md). The guest can
 * write it, and it may have come as an archive from anybody: nothing in it is believed unchecked.
 */
import { isRecord, textOf } from "./json.ts";
import { SpriteError } from "../../contract/errors.ts";
import {
  parseServiceDefinition,
  parseServiceName,
  serviceRequest,
  type ServiceDefinition,
} from "../../contract/service.ts";
import { circleThrough } from "./dependencies.ts";
import { servicesFileBytesMax, servicesMax } from "./limits.ts";

const version = 1;

export interface KeptService {
  definition: ServiceDefinition;
  /** Somebody stopped it, and nobody has started it since. */
  isStopped: boolean;
}

export interface ReadServices {
  services: KeptService[];
  /** What could not be used, in words for people; none in a whole file. */
  problems: string[];
}

/** @throws SpriteError invalid_request: there is no room for so much */
export function encodeServices(services: Iterable<KeptService>): string {
  const entries = [...services].map(({ definition, isStopped }) => ({
    name: definition.name,
    ...serviceRequest(definition),
    stopped: isStopped,
  }));
  const text = `${JSON.stringify({ version, services: entries }, null, 1)}\n`;
  if (entries.length <= servicesMax && Buffer.byteLength(text) <= servicesFileBytesMax) return text;
  throw new SpriteError("invalid_request", "the sprite's services are too many or too large", {
    details: { services_limit: servicesMax, bytes_limit: servicesFileBytesMax },
  });
}

/** Never throws: what is unusable becomes a problem, and the rest is used. */
export function decodeServices(text: string): ReadServices {
  let file: unknown;
  try {
    file = JSON.parse(text);
  } catch {
    return { services: [], problems: ["the file is not JSON"] };
  }
  if (!isRecord(file)) return { services: [], problems: ["the file is not a JSON object"] };
  if (file["version"] !== version) {
    return { services: [], problems: [`the file's version is ${textOf(file["version"])}, not 1`] };
  }
  const entries = file["services"];
  if (!Array.isArray(entries)) return { services: [], problems: ["the file lists no services"] };
  const reading = new Reading();
  for (const entry of entries as unknown[]) reading.add(entry);
  return reading.finish();
}

class Reading {
  readonly #problems: string[] = [];
  readonly #services = new Map<string, KeptService>();
  #skippedCount = 0;

  add(entry: unknown): void {
    try {
      this.#addChecked(entry);
    } catch (error) {
      if (!(error instanceof SpriteError)) throw error;
      const name = isRecord(entry) ? textOf(entry["name"]) : "an entry";
      this.#problem(`${name}: ${error.message}`);
    }
  }

  finish(): ReadServices {
    this.#dropUnmet();
    if (this.#skippedCount > 0) this.#problems.push(`and ${this.#skippedCount} more`);
    return { services: [...this.#services.values()], problems: this.#problems };
  }

  #addChecked(entry: unknown): void {
    const fields = isRecord(entry) ? entry : {};
    const definition = parseServiceDefinition(parseServiceName(fields["name"]), entry);
    const { name, httpPort } = definition;
    const others = [...this.#services.values()];
    if (this.#services.has(name)) throw refused("it is there twice");
    if (others.length >= servicesMax) throw refused(`more than ${servicesMax} services`);
    if (httpPort !== null && others.some((other) => other.definition.httpPort !== null)) {
      throw refused("another one has an HTTP port");
    }
    this.#services.set(name, { definition, isStopped: fields["stopped"] === true });
  }

  /** A need that nobody can meet is left out; the service itself is more use with less than not at all. */
  #dropUnmet(): void {
    for (const [name, service] of this.#services) {
      const { definition } = service;
      const needs = definition.needs.filter((needed) => this.#services.has(needed));
      if (needs.length < definition.needs.length) this.#replaceNeeds(service, needs);
      const definitions = new Map(
        [...this.#services].map(([key, { definition: value }]) => [key, value]),
      );
      if (circleThrough(definitions, name) !== null) this.#replaceNeeds(service, []);
    }
  }

  #replaceNeeds(service: KeptService, needs: readonly string[]): void {
    const { name } = service.definition;
    this.#problem(`${name}: it needs what is not there, or itself`);
    this.#services.set(name, { ...service, definition: { ...service.definition, needs } });
  }

  #problem(text: string): void {
    if (this.#problems.length < 10) this.#problems.push(text.slice(0, 300));
    else this.#skippedCount += 1;
  }
}

function refused(reason: string): SpriteError {
  return new SpriteError("invalid_request", reason);
}
