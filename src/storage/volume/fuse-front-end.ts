/** A mounted FUSE file system of a volume: the descriptor, the fast lane's thread, the mount. */
import { MessageChannel, Worker } from "node:worker_threads";
import { SpriteError } from "../../contract/errors.ts";
import type { FastLaneData } from "../fuse/fast-lane.ts";
import {
  abortConnection,
  closeFuseDevice,
  mountFuse,
  openFuseDevice,
  unmountFuse,
  type FuseMount,
} from "../fuse/mount.ts";
import type { LaneClient } from "./lane-client.ts";
import type { OpenedVolume } from "./rpc.ts";

/** A /dev/fuse descriptor that this process got from another, which keeps it too. */
export interface GivenDescriptor {
  descriptor: number;
  /** It is mounted on the directory, and its server has died or there was none yet. */
  alreadyMounted: boolean;
  /** Checkpoints that the dead server showed as files, and that somebody may be reading. */
  shown?: readonly string[];
}

export interface FuseFrontEndOptions {
  directory: string;
  /** Absent: a descriptor is opened and mounted here. */
  given?: GivenDescriptor;
  opened: OpenedVolume;
  readOnly: boolean;
  slowLane: LaneClient;
  onCrash: (error: Error) => void;
}

export class FuseFrontEnd {
  readonly #descriptor: number;
  readonly #isGiven: boolean;
  readonly #slowLane: LaneClient;
  readonly #fastLaneEnded: Promise<void>;
  #mount: FuseMount | null = null;

  private constructor(options: FuseFrontEndOptions, descriptor: number) {
    this.#descriptor = descriptor;
    this.#isGiven = options.given !== undefined;
    this.#slowLane = options.slowLane;
    const { port1, port2 } = new MessageChannel();
    const data: FastLaneData = {
      fuseDescriptor: descriptor,
      files: options.opened.files,
      buffers: options.opened.buffers,
      readOnly: options.readOnly,
      slowLane: port1,
    };
    const worker = new Worker(new URL("../fuse/fast-lane.ts", import.meta.url), {
      name: "fast lane",
      workerData: data,
      transferList: [port1],
      resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 4 },
    });
    worker.on("error", (error: unknown) => {
      this.abort();
      options.onCrash(new SpriteError("storage_failure", "the fast lane failed", { cause: error }));
    });
    this.#fastLaneEnded = new Promise((resolve) => {
      worker.on("exit", () => resolve());
    });
    const shown = options.given?.shown ?? [];
    void options.slowLane.call(
      "serve",
      [{ fuseDescriptor: descriptor, fastLane: port2, shown }],
      [port2],
    );
  }

  static async mount(options: FuseFrontEndOptions): Promise<FuseFrontEnd> {
    const { directory, given } = options;
    const descriptor = given?.descriptor ?? openFuseDevice();
    let mount: FuseMount;
    try {
      const alreadyMounted = given?.alreadyMounted ?? false;
      mount = await mountFuse({ descriptor, directory, alreadyMounted });
    } catch (error) {
      closeFuseDevice(descriptor);
      throw error;
    }
    const frontEnd = new FuseFrontEnd(options, descriptor);
    frontEnd.#mount = mount;
    return frontEnd;
  }

  /**
   * Makes every request fail from now on, so that nobody waits for a server that is gone. On a given
   * descriptor they wait: whoever keeps it starts another server, or lets go of it.
   */
  abort(): void {
    if (this.#mount !== null && !this.#isGiven) abortConnection(this.#mount.connection);
  }

  async unmount(): Promise<void> {
    if (this.#mount === null) return;
    await unmountFuse(this.#mount);
    this.#mount = null;
    await this.#fastLaneEnded;
    await this.#slowLane.call("stopServing", []);
    closeFuseDevice(this.#descriptor);
  }
}
