import { must } from "../../base/assert.ts";
import { SpriteError } from "../../contract/errors.ts";
import type { Database, Statement } from "../database.ts";

/** The numbers that the map itself keeps; callers reach them by methods that keep them right. */
const ownNames = [
  "sizeBytes",
  "lastCut",
  "generation",
  "nextSegment",
  "nextCheckpoint",
  "namedBytes",
  "garbageBytes",
  "foreignBytes",
] as const;
export type CounterName = (typeof ownNames)[number];
/** Names of values that are the map's own. */
export const reservedNames: ReadonlySet<string> = new Set([...ownNames, "formatted"]);

/** Small values about the volume, in the same file and so in the same transactions as the map. */
export class Attributes {
  readonly #get: Statement<[string], { value: string | number }>;
  readonly #set: Statement<[string, string | number], never>;

  constructor(database: Database) {
    this.#get = database.prepare("SELECT value FROM attribute WHERE name = ?");
    this.#set = database.prepare(
      `INSERT INTO attribute (name, value) VALUES (?, ?)
       ON CONFLICT (name) DO UPDATE SET value = excluded.value`,
    );
  }

  counter(name: CounterName): number {
    return Number(must(this.#get.get(name), `block map has ${name}`).value);
  }

  /** A value that stays writes nothing: every page that is written goes to the bucket. */
  setCounter(name: CounterName, value: number): void {
    if (this.counter(name) !== value) this.#set.run(name, value);
  }

  addToCounter(name: CounterName, difference: number): void {
    if (difference !== 0) this.setCounter(name, this.counter(name) + difference);
  }

  get(name: string): string | null {
    const row = this.#get.get(name);
    return row === undefined ? null : String(row.value);
  }

  /** @throws SpriteError invalid_request for a name that the map keeps for itself */
  set(name: string, value: string): void {
    if (reservedNames.has(name)) {
      throw new SpriteError("invalid_request", `block map attribute ${name} is reserved`);
    }
    if (this.get(name) !== value) this.#set.run(name, value);
  }

  get formatted(): boolean {
    return this.get("formatted") === "1";
  }

  markFormatted(): void {
    if (!this.formatted) this.#set.run("formatted", "1");
  }
}
