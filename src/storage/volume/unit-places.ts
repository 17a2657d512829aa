/** Where the live file's units are stored: all that the live disk needs to know of the map. */
import type { BlockMap } from "../block-map/block-map.ts";
import { isSameLayout } from "../block-map/layout.ts";
import type { UnitLayout } from "../block-map/types.ts";

export interface UnitPlaces {
  /** Where each of the units is; null for one of zeros. May have to ask the bucket. */
  locate(units: readonly number[]): (UnitLayout | null)[] | Promise<(UnitLayout | null)[]>;
  /** Whether each unit is still there, asked at the moment when its content is about to be believed. */
  areCurrent(units: readonly number[], layouts: readonly (UnitLayout | null)[]): boolean[];
}

/** Of a map that is here. */
export function placesOf(map: BlockMap): UnitPlaces {
  const locate = (units: readonly number[]): (UnitLayout | null)[] => {
    const [first = 0] = units;
    // Those that lie in a row share their leaves.
    if (units.every((unit, index) => unit === first + index)) {
      return map.lookupRange(map.liveFileId, first, units.length);
    }
    return units.map((unit) => map.lookup(map.liveFileId, unit));
  };
  return {
    locate,
    areCurrent: (units, layouts) =>
      locate(units).map((layout, index) => isSameLayout(layouts[index] ?? null, layout)),
  };
}
