/** What a read of the disk asks of the map, wherever that is: in the bucket at first, then here. */
import { must } from "../../base/assert.ts";
import type { BlockMap } from "../block-map/block-map.ts";
import type { UnitLayout } from "../block-map/types.ts";
import type { RemoteMap } from "./remote-map.ts";
import { placesOf, type UnitPlaces } from "./unit-places.ts";

export class MapView implements UnitPlaces {
  readonly #prefix: string;
  readonly #remote: RemoteMap | null;
  #map: BlockMap | null = null;
  #local: UnitPlaces | null = null;

  constructor(prefix: string, from: { map: BlockMap } | { remote: RemoteMap }) {
    this.#prefix = prefix;
    this.#remote = "remote" in from ? from.remote : null;
    if ("map" in from) this.settle(from.map);
  }

  /** The map is here, and says what it said in the bucket. */
  settle(map: BlockMap): void {
    this.#map = map;
    this.#local = placesOf(map);
  }

  locate(units: readonly number[]): ReturnType<UnitPlaces["locate"]> {
    return this.#local?.locate(units) ?? this.#remoteMap.locate(units);
  }

  /** Nothing changes before the map is here: there is no cut. */
  isCurrent(unit: number, layout: UnitLayout | null): boolean {
    return this.#local?.isCurrent(unit, layout) ?? true;
  }

  /** The segment's key in the bucket. */
  keyOf(segment: number): string | Promise<string> {
    const map = this.#map;
    if (map === null) return this.#remoteMap.keyOf(segment);
    return `${map.segmentOwner(segment) || this.#prefix}/${map.segmentKey(segment)}`;
  }

  get #remoteMap(): RemoteMap {
    return must(this.#remote, "a map that is not here is in the bucket");
  }
}
