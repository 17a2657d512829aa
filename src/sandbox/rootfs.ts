/**
 * The container's root file system: an overlay of the sprite's disk on the standard image, both
 * idmapped to the sprite's own host ids.
 */
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";

import { must } from "../base/assert.ts";
import { waitUntil } from "../base/wait.ts";
import { HostError } from "../host/command.ts";
import type { HostHelper } from "../host/host-helper.ts";
import { mountPoints as currentMountPoints } from "../host/mount-points.ts";
import type { Log } from "../base/log.ts";
import { unmountMsMax, unmountRetryMs } from "./limits.ts";

export interface RootfsOptions {
  diskDirectory: string;
  imageDirectory: string;
  runDirectory: string;
  dotSpriteDirectory: string;
  hostIdBase: number;
}

/** The runtime mounts on these; it makes what is missing, and refuses what is a link. */
const mountPoints = ["proc", "sys", "dev", "run", ".sprite"];

export class Rootfs {
  /** The merged root, for the runtime. */
  readonly directory: string;
  readonly #options: RootfsOptions;
  readonly #helper: Pick<HostHelper, "run">;
  readonly #log: Log;
  readonly #layersDirectory: string;
  /** In the order mounted. */
  readonly #mounted: string[] = [];
  #layerCount = 0;
  #dotSpriteShared = false;
  /** The newest checkpoint that is being mounted; settles in any case. */
  #mounting: Promise<unknown> = Promise.resolve();
  #isEnding = false;
  /** The image's layer, from `prepare` until the overlay has it. */
  #imageLayer: string | null = null;

  constructor(options: RootfsOptions, helper: Pick<HostHelper, "run">, log: Log) {
    this.#options = options;
    this.#helper = helper;
    this.#log = log;
    this.directory = join(options.runDirectory, "rootfs");
    this.#layersDirectory = join(options.runDirectory, "layers");
  }

  /** What needs no disk. */
  async prepare(): Promise<void> {
    const { imageDirectory, dotSpriteDirectory } = this.#options;
    await mkdir(this.directory, { recursive: true });
    await this.#shareDotSprite(dotSpriteDirectory);
    this.#imageLayer = await this.#mountLayer(imageDirectory);
  }

  async mount(): Promise<void> {
    const { diskDirectory, hostIdBase } = this.#options;
    const image = must(this.#imageLayer, "it is prepared");
    // Owned by 0 on the disk, which the mapping turns into the guest's root.
    for (const [name, mode] of [
      ["upper", 0o755],
      ["work", 0o700],
    ] as const) {
      const path = join(diskDirectory, name);
      await this.#helper.run({ type: "make_directory", path, mode, userId: 0, groupId: 0 });
    }
    const target = this.directory;
    await this.#withLayers([diskDirectory], async ([disk = ""]) => {
      await this.#helper.run({
        type: "overlay_mount",
        target,
        lowerDirectories: [image],
        writable: { upperDirectory: join(disk, "upper"), workDirectory: join(disk, "work") },
        flags: ["no_device", "no_access_time"],
        fileSystemUserId: hostIdBase,
      });
    });
    this.#mounted.push(target);
    await this.#dropImageLayer();
    await this.#helper.run({
      type: "ensure_directories",
      root: target,
      names: mountPoints,
      fileSystemUserId: hostIdBase,
    });
  }

  /**
   * Goes on with what an agent mounted that has died; only the layers of a mount it did not finish
   * go. True when the merged root is there.
   */
  async adopt(): Promise<boolean> {
    const { dotSpriteDirectory } = this.#options;
    const isBelow = (path: string, directory: string): boolean => path.startsWith(`${directory}/`);
    for (const path of currentMountPoints()) {
      if (isBelow(path, this.#layersDirectory)) {
        await this.#helper.run({ type: "unmount", target: path, lazy: true });
      }
      if (path === dotSpriteDirectory) this.#dotSpriteShared = true;
      const isCheckpoint = isBelow(path, join(dotSpriteDirectory, "checkpoints"));
      if (path === this.directory || isCheckpoint) this.#mounted.push(path);
    }
    return this.#mounted.includes(this.directory);
  }

  /**
   * Merges a checkpoint's disk with the image, read-only, at a directory that the container sees. Once all of it
   * is being unmounted there is nobody to see it, and nobody who would unmount it again.
   */
  async mountCheckpoint(options: { target: string; diskDirectory: string }): Promise<void> {
    if (this.#isEnding) return;
    const mounting = this.#mountCheckpoint(options);
    this.#mounting = mounting.catch(() => undefined);
    await mounting;
  }

  async #mountCheckpoint(options: { target: string; diskDirectory: string }): Promise<void> {
    const { target, diskDirectory } = options;
    const layers = [diskDirectory, this.#options.imageDirectory];
    await mkdir(target, { recursive: true });
    await this.#withLayers(layers, async ([disk = "", image = ""]) => {
      await this.#helper.run({
        type: "overlay_mount",
        target,
        lowerDirectories: [join(disk, "upper"), image],
        flags: ["no_device", "no_suid", "no_access_time"],
        fileSystemUserId: this.#options.hostIdBase,
      });
    });
    this.#mounted.push(target);
  }

  async unmountCheckpoint(target: string): Promise<void> {
    const place = this.#mounted.indexOf(target);
    if (place < 0) return;
    await this.#unmount(target);
    this.#mounted.splice(place, 1);
    await rm(target, { recursive: true, force: true });
  }

  /** Unmounts all of it, newest first. */
  async unmount(): Promise<void> {
    this.#isEnding = true;
    await this.#mounting;
    await this.#dropImageLayer();
    for (let target = this.#mounted.at(-1); target !== undefined; target = this.#mounted.at(-1)) {
      await this.#unmount(target);
      this.#mounted.pop();
    }
    if (!this.#dotSpriteShared) return;
    // The agent's own sockets and pipes are open in there, and go on being so.
    const target = this.#options.dotSpriteDirectory;
    await this.#helper.run({ type: "unmount", target, lazy: true });
    this.#dotSpriteShared = false;
  }

  /** What is mounted below it later appears in the container, whose own mount is a slave of this one. */
  async #shareDotSprite(directory: string): Promise<void> {
    await this.#helper.run({ type: "bind", source: directory, target: directory, flags: [] });
    this.#dotSpriteShared = true;
    await this.#helper.run({
      type: "set_propagation",
      target: directory,
      propagation: "shared",
    });
  }

  /**
   * Shows each directory's mount with the guest's owners while the overlay is made; that keeps
   * copies of its own.
   */
  async #withLayers(
    sources: readonly string[],
    body: (targets: readonly string[]) => Promise<void>,
  ): Promise<void> {
    const targets: string[] = [];
    try {
      for (const source of sources) {
        targets.push(await this.#mountLayer(source));
      }
      await body(targets);
    } finally {
      for (const target of targets) await this.#unmount(target);
    }
  }

  async #mountLayer(source: string): Promise<string> {
    const target = join(this.#layersDirectory, String(this.#layerCount++));
    await mkdir(target, { recursive: true });
    const { hostIdBase } = this.#options;
    await this.#helper.run({ type: "idmap_mount", source, target, hostIdBase });
    return target;
  }

  async #dropImageLayer(): Promise<void> {
    const layer = this.#imageLayer;
    this.#imageLayer = null;
    if (layer !== null) await this.#unmount(layer);
  }

  /** Processes that are being killed hold a mount a moment longer. */
  async #unmount(target: string): Promise<void> {
    const unmounted = await waitUntil(
      async () => {
        try {
          await this.#helper.run({ type: "unmount", target });
          return true;
        } catch (error) {
          if (!(error instanceof HostError)) throw error;
          // Not a mount point, or not there: somebody was faster.
          if (error.errno === "EINVAL" || error.errno === "ENOENT") return true;
          if (error.errno !== "EBUSY") throw error;
          return false;
        }
      },
      { timeoutMs: unmountMsMax, intervalMs: unmountRetryMs },
    );
    if (unmounted) return;
    this.#log.error({ target }, "a mount is still in use; detaching it");
    await this.#helper.run({ type: "unmount", target, lazy: true });
  }
}
