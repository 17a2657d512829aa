/** A process that does nothing but serve one disk, started as an agent is: what the storage side alone costs. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { createInterface } from "node:readline";
import { join } from "node:path";
import { nodeProcess } from "../src/base/node-process.ts";
import type { VolumeOptions } from "../src/storage/volume/volume.ts";
import type { Cleanup } from "./cleanup.ts";

const childModule = join(import.meta.dirname, "../src/storage/volume/testing/volume-child.ts");

export class VolumeRig {
  readonly pid: number;
  /** The disk's content. */
  readonly file: string;
  readonly #call: (method: string, ...args: unknown[]) => Promise<unknown>;
  readonly #end: () => Promise<void>;

  private constructor(options: {
    pid: number;
    file: string;
    call: (method: string, ...args: unknown[]) => Promise<unknown>;
    end: () => Promise<void>;
  }) {
    this.pid = options.pid;
    this.file = options.file;
    this.#call = options.call;
    this.#end = options.end;
  }

  /** Its disk is mounted when this resolves. */
  static async start(
    options: Pick<VolumeOptions, "bucket" | "prefix" | "sizeBytes">,
    { directory, cleanup }: { directory: string; cleanup: Cleanup },
  ): Promise<VolumeRig> {
    const mountDirectory = join(directory, "fuse");
    await mkdir(mountDirectory, { recursive: true });
    const volume: VolumeOptions = {
      ...options,
      cacheDirectory: join(directory, "cache"),
      ...{ cacheSizeBytesMax: 2 ** 32, readOnly: false, syncIntervalMs: 1_000 },
    };
    const { file, args, environment } = nodeProcess(childModule);
    const child = spawn(file, [...args, JSON.stringify(volume)], {
      stdio: ["pipe", "pipe", "inherit"],
      env: { ...process.env, ...environment },
    });
    cleanup.add("end a volume's process", async () => void child.kill("SIGKILL"));
    const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const call = async (method: string, ...words: unknown[]): Promise<unknown> => {
      child.stdin.write(`${JSON.stringify({ id: 1, method, args: words })}\n`);
      const { value: line, done } = await answers.next();
      if (done === true) throw new Error("a volume's process ended");
      const { value, error } = JSON.parse(line) as { value?: unknown; error?: string };
      if (error !== undefined) throw new Error(error);
      return value;
    };
    const end = async (): Promise<void> => {
      const exited = once(child, "exit");
      child.stdin.end();
      await exited;
    };
    await call("mount", mountDirectory);
    return new VolumeRig({ pid: child.pid ?? 0, file: join(mountDirectory, "live"), call, end });
  }

  async sync(): Promise<void> {
    await this.#call("sync");
  }

  async close(): Promise<void> {
    await this.#call("close", { discard: false });
    await this.#end();
  }
}
