/** What a read of the disk asks of the map, wherever that is: in the bucket at first, then here. */
import { must } from "../../base/assert.ts";
import type { BlockMap } from "../block-map/block-map.ts";
import type { UnitLayout } from "../block-map/types.ts";
import type { KnownPlaces } from "./early-boot.ts";
import type { RemoteMap } from "./remote-map.ts";
import { placesOf, type UnitPlaces } from "./unit-places.ts";

export class MapView implements UnitPlaces {
  readonly #prefix: string;
  readonly #remote: RemoteMap | null;
  #places: KnownPlaces | null;
  #map: BlockMap | null = null;
  #local: UnitPlaces | null = null;

  constructor(
    prefix: string,
    from: { map: BlockMap } | { remote: RemoteMap; places: KnownPlaces | null },
  ) {
    this.#prefix = prefix;
    this.#places = "remote" in from ? from.places : null;
    this.#remote = "remote" in from ? from.remote : null;
    if ("map" in from) this.settle(from.map);
  }

  /** The map is here, and says what it said in the bucket. */
  settle(map: BlockMap): void {
    this.#places = null;
    this.#map = map;
    this.#local = placesOf(map);
  }

  locate(units: readonly number[]): ReturnType<UnitPlaces["locate"]> {
    return this.#local?.locate(units) ?? this.#knownOf(units) ?? this.#remoteMap.locate(units);
  }

  /** What the boot list says, when it has all of them. */
  #knownOf(units: readonly number[]): (UnitLayout | null)[] | null {
    const known = this.#places?.layouts;
    if (known === undefined || !units.every((unit) => known.has(unit))) return null;
    return units.map((unit) => known.get(unit) ?? null);
  }

  /** Nothing changes before the map is here: there is no cut. */
  areCurrent(units: readonly number[], layouts: readonly (UnitLayout | null)[]): boolean[] {
    return this.#local?.areCurrent(units, layouts) ?? units.map(() => true);
  }

  /** The segment's key in the bucket. */
  keyOf(segment: number): string | Promise<string> {
    const map = this.#map;
    if (map === null) return this.#places?.keys.get(segment) ?? this.#remoteMap.keyOf(segment);
    return `${map.segmentOwner(segment) || this.#prefix}/${map.segmentKey(segment)}`;
  }

  get #remoteMap(): RemoteMap {
    return must(this.#remote, "a map that is not here is in the bucket");
  }
}
