/** Where the live file's units are stored: all that the live disk needs to know of the map. */
import type { BlockMap } from "../block-map/block-map.ts";
import { isSameLayout } from "../block-map/layout.ts";
import type { UnitLayout } from "../block-map/types.ts";

export interface UnitPlaces {
  /** Where each of the units is; null for one of zeros. May have to ask the bucket. */
  locate(units: readonly number[]): (UnitLayout | null)[] | Promise<(UnitLayout | null)[]>;
  /** Whether the unit is still there, asked at the moment when its content is about to be believed. */
  isCurrent(unit: number, layout: UnitLayout | null): boolean;
}

/** Of a map that is here. */
export function placesOf(map: BlockMap): UnitPlaces {
  return {
    locate: (units) => units.map((unit) => map.lookup(map.liveFileId, unit)),
    isCurrent: (unit, layout) => isSameLayout(layout, map.lookup(map.liveFileId, unit)),
  };
}
