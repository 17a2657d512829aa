/** The disk of a sprite that sleeps, read-only, as its programs would see it: its own layer above the image. */
import { constants, openSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";

import { SpriteError } from "../../contract/errors.ts";
import type { ReaderStartup } from "../../contract/reader-startup.ts";
import type { HostHelper } from "../../host/host-helper.ts";
import type { Volume } from "../../storage/volume/volume.ts";
import type { FileView } from "../files/file-service.ts";
import { mountStill } from "../still-mount.ts";

const openNameOnly = 0o10000000;

export class ColdDisk implements FileView {
  /** Where the disk itself is mounted. */
  readonly directory: string;
  readonly #startup: ReaderStartup;
  readonly #helper: HostHelper;
  readonly #volume: Volume;
  readonly #rootDirectory: string;

  constructor(startup: ReaderStartup, helper: HostHelper, volume: Volume) {
    this.#startup = startup;
    this.#helper = helper;
    this.#volume = volume;
    this.directory = join(startup.runDirectory, "disk");
    this.#rootDirectory = join(startup.runDirectory, "rootfs");
  }

  /**
   * Mounts all of it.
   * @throws SpriteError conflict: the disk was not closed in order, which only a start puts right
   */
  async open(): Promise<void> {
    const fuseDirectory = join(this.#startup.runDirectory, "fuse");
    for (const path of [this.directory, this.#rootDirectory, fuseDirectory]) {
      await mkdir(path, { recursive: true });
    }
    if (!this.#volume.formatted) throw needsStart("it has no file system yet");
    await this.#volume.mount(fuseDirectory);
    const backingFile = join(fuseDirectory, "live");
    // What a kernel would replay or complain of is for the sprite's own start.
    const mount = { backingFile, target: this.directory, toleratesErrors: false };
    await mountStill(this.#helper, mount, needsStart);
    await this.#mountRoot();
  }

  /** Whoever holds a file of it has been ended. What fails ends with this process's mount namespace. */
  async close(): Promise<void> {
    for (const target of [this.#rootDirectory, this.directory]) {
      await this.#helper.run({ type: "unmount", target, lazy: true });
    }
    await this.#volume.close({ discard: true });
  }

  /** The root of what is seen, by name only; the caller closes it. */
  openRoot(): number {
    return openSync(this.#rootDirectory, openNameOnly | constants.O_DIRECTORY);
  }

  async #mountRoot(): Promise<void> {
    const { runDirectory, imageDirectory, hostIdBase } = this.#startup;
    const layers = {
      disk: join(runDirectory, "layers/disk"),
      image: join(runDirectory, "layers/image"),
    };
    const sources = [
      [this.directory, layers.disk],
      [imageDirectory, layers.image],
    ] as const;
    for (const [source, target] of sources) {
      await mkdir(target, { recursive: true });
      await this.#helper.run({ type: "idmap_mount", source, target, hostIdBase });
    }
    await this.#helper.run({
      type: "overlay_mount",
      target: this.#rootDirectory,
      lowerDirectories: [join(layers.disk, "upper"), layers.image],
      flags: ["no_device", "no_suid", "no_execute", "no_access_time"],
      fileSystemUserId: hostIdBase,
    });
    for (const target of Object.values(layers)) {
      await this.#helper.run({ type: "unmount", target, lazy: true });
    }
  }
}

function needsStart(reason: string): SpriteError {
  return new SpriteError("conflict", `the sprite's disk cannot be read before a start: ${reason}`);
}
