/**
 * Puts the stand-ins in the place of what the storage room imports, and deliberate bugs into its text: module
 * hooks, so that the code that is simulated is the code that ships. To be imported before that code.
 */
import { registerHooks } from "node:module";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** In a file below `src/storage`, one text becomes another. */
export interface Change {
  file: string;
  original: string;
  replaced: string;
}

const storageUrl = new URL("../../../", import.meta.url).href;
const sourceUrl = new URL("../", storageUrl).href;
const here = new URL(".", import.meta.url).href;

/** What is tuned for small worlds: less memory to fill, and more often what happens seldom. */
const tuning: readonly [file: string, name: string, value: string][] = [
  ["block-map/segment.ts", "segmentSizeBytesMax", "128 * 1024"],
  ["audit/limits.ts", "mapAgeMsMax", "5_000"],
  ["block-map/limits.ts", "slicesPerUnitMax", "4"],
  // A merge of segments makes ones that are above this, or it would never end.
  ["block-map/limits.ts", "smallSegmentBytesMax", "64 * 1024"],
  ["block-map/limits.ts", "smallSegmentsMin", "4"],
  ["block-map/limits.ts", "rewriteIntervalMs", "5_000"],
  ["chunk-cache/limits.ts", "logReserveRecords", "64"],
  ["chunk-cache/limits.ts", "logRecordsMax", "200"],
  ["chunk-cache/limits.ts", "areaRecordsMin", "512"],
  ["chunk-cache/limits.ts", "logReadRecords", "1_024"],
  ["chunk-cache/limits.ts", "reserveSizeBytes", "64 * 1024"],
  ["litestream/limits.ts", "snapshotGrowthBytesMin", "4_096"],
  ["litestream/limits.ts", "deletedFilesMin", "2"],
  ["litestream/limits.ts", "logReadSizeBytes", "64 * 1024"],
  ["volume/limits.ts", "captureBatchUnits", "1"],
  ["volume/map-check.ts", "pieceSizeBytes", "64 * 1024"],
];

const standIns: Readonly<Record<string, string>> = {
  "node:fs": "fs",
  "node:fs/promises": "fs-promises",
  "node:timers/promises": "timers-promises",
  "node:crypto": "crypto",
  "better-sqlite3": "better-sqlite3",
};

export function installStandIns(changes: readonly Change[] = []): void {
  registerHooks({
    resolve(specifier, context, nextResolve) {
      const parent = context.parentURL ?? "";
      if (!parent.startsWith(sourceUrl) || parent.startsWith(here)) {
        return nextResolve(specifier, context);
      }
      const isPunchHole = specifier.endsWith("/punch-hole.ts");
      const name = isPunchHole ? "punch-hole" : standIns[specifier];
      if (name === undefined) return nextResolve(specifier, context);
      return { url: new URL(`stand-ins/${name}.ts`, here).href, shortCircuit: true };
    },
    load(url, context, nextLoad) {
      const isThis = (file: string): boolean => url === new URL(file, storageUrl).href;
      const matching = changes.filter(({ file }) => isThis(file));
      const tuned = tuning.filter(([file]) => isThis(file));
      if (matching.length + tuned.length === 0) return nextLoad(url, context);
      let source = readFileSync(fileURLToPath(url), "utf8");
      for (const each of matching) source = mutate(source, each);
      for (const each of tuned) source = tune(source, each);
      return { format: "module-typescript", source, shortCircuit: true };
    },
  });
}

function tune(source: string, [file, name, value]: (typeof tuning)[number]): string {
  const pattern = new RegExp(`(const ${name} = )[^;]+;`);
  if (!pattern.test(source)) throw new Error(`${file} has no constant ${name}`);
  return source.replace(pattern, `$1${value};`);
}

function mutate(source: string, { file, original, replaced }: Change): string {
  const parts = source.split(original);
  if (parts.length !== 2) {
    throw new Error(`the text to change is ${parts.length - 1} times in ${file}: ${original}`);
  }
  return parts.join(replaced);
}
