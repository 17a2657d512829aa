import type { Attributes } from "./attributes.ts";
import { reservedNames } from "./attributes.ts";
import type { Checkpoints } from "./checkpoints.ts";
import type { Database } from "../database.ts";
import { ReferenceChanges } from "./references.ts";
import type { Segments } from "./segments.ts";

export interface ForkOptions {
  /** The checkpoint that the fork begins with; null for the live file as the map has it. */
  fromCheckpoint: string | null;
  /** The source's prefix in the bucket, such as `sprites/<id>`: all that the map names lies there. */
  owner: string;
}

/**
 * Makes a copy of a source's map the map of a fork. To be called in a transaction.
 *
 * Segment numbers go on from where the source was: the fork's own get numbers that none of the shared ones has.
 * @throws SpriteError not_found: there is no such checkpoint
 */
export function makeFork(
  parts: {
    database: Database;
    attributes: Attributes;
    segments: Segments;
    checkpoints: Checkpoints;
  },
  options: ForkOptions,
): void {
  const { database, attributes, segments, checkpoints } = parts;
  const references = new ReferenceChanges();
  if (options.fromCheckpoint !== null) checkpoints.restore(options.fromCheckpoint, references);
  checkpoints.dropAll(references);
  segments.settle(references, { inserted: [], cut: attributes.counter("lastCut"), nowMs: 0 });
  segments.giveAway(options.owner);
  attributes.addToCounter("generation", 1);
  attributes.setCounter("nextCheckpoint", 0);
  const names = database
    .prepare<[], { name: string }>("SELECT name FROM attribute")
    .all()
    .map(({ name }) => name);
  const drop = database.prepare<[string], never>("DELETE FROM attribute WHERE name = ?");
  // What others keep here says who the source is, and where it was stored.
  for (const name of names) if (!reservedNames.has(name)) drop.run(name);
}
