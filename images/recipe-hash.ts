import { createHash } from "node:crypto";

import { npmPackage, type Recipe } from "./recipes.ts";

/** Raised when `builder.ts` makes another image of the same recipe. */
const builderVersion = 1;

export const compression = { algorithm: "lz4hc,9", clusterSizeBytes: 65_536 } as const;

/** Names an image by all that decides its content, save the day's versions of the Debian packages. */
export function recipeHash(recipe: Recipe, nodeVersion: string): string {
  const inputs = {
    builderVersion,
    architecture: "amd64",
    compression,
    node: recipe.withNode ? { version: nodeVersion, npm: npmPackage } : null,
    recipe,
  };
  return createHash("sha256").update(JSON.stringify(inputs)).digest("hex").slice(0, 32);
}

/** The file system's UUID follows from the recipe, so that two builds of one recipe have the same. */
export function imageUuid(hash: string): string {
  // Version 8 (free form) and variant bits, so that the result is a valid UUID.
  const digits = `${hash.slice(0, 12)}8${hash.slice(13, 16)}8${hash.slice(17, 32)}`;
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
