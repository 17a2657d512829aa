/**
 * What the guest reads first, asked for while the volume is being taken: the list together with the head, and the
 * first units together with the map's index.
 */
import { must } from "../../base/assert.ts";
import type { UnitLayout } from "../block-map/types.ts";
import type { Head } from "../lease/head.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import { bootFileName, decodeBootFile, digestOf, type BootFile } from "./boot-file.ts";
import { earlyUnitsMax } from "./limits.ts";
import { SegmentReader } from "./segment-reader.ts";

/** The boot's units as the map of the opened state has them. */
export interface KnownPlaces {
  layouts: BootFile["layouts"];
  keys: BootFile["keys"];
  /** The first of them, which are on their way. */
  contents: Promise<Map<UnitLayout, Uint8Array>>;
  /** Units of which `contents` has the content. */
  units: readonly number[];
}

export class EarlyBoot {
  readonly #store: ObjectStore;
  /** The list's bytes; null when there is none. Rejects when the bucket does not answer. */
  readonly bytes: Promise<Uint8Array | null>;

  constructor({ store, prefix }: { store: ObjectStore; prefix: string }) {
    this.#store = store;
    this.bytes = store.get(`${prefix}/${bootFileName}`);
    // Whoever uses it hears of a failure; perhaps nobody does.
    this.bytes.catch(() => undefined);
  }

  /** Begins to fetch units. Null when the list is not of the state that the head names; nobody may hold that. */
  async placesFor(head: Head): Promise<KnownPlaces | null> {
    const found = decodeBootFile(await this.bytes.catch(() => null));
    if (found === null || found.stateDigest === null) return null;
    if (found.stateDigest !== digestOf(head)) return null;
    const { layouts, keys } = found;
    const reader = new SegmentReader({
      store: this.#store,
      keyOf: (segment) => must(keys.get(segment), "the list has the keys of its segments"),
      staging: null,
    });
    const units = found.units.slice(0, earlyUnitsMax).filter((unit) => layouts.get(unit));
    const wanted = units.map((unit) => must(layouts.get(unit), "the unit is stored"));
    const contents = reader.readUnits(wanted);
    // Whoever waits for a unit asks again.
    contents.catch(() => undefined);
    return { layouts, keys, contents, units };
  }
}
