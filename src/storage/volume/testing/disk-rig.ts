/** The whole stack under test: a child with the volume, its FUSE mount, a loop device, ext4. Needs root. */
import { spawn, execFile, type ChildProcess, type SpawnOptions } from "node:child_process";
import { closeSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { must } from "../../../base/assert.ts";
import { mountFuse, openFuseDevice } from "../../fuse/mount.ts";
import type { VolumeOptions } from "../volume.ts";

const execute = promisify(execFile);
const commandTimeoutMs = 20_000;
const busyMsMax = 2_000;

export async function run(command: string, ...args: string[]): Promise<string> {
  const { stdout } = await execute(command, args, { timeout: commandTimeoutMs });
  return stdout.trim();
}

/**
 * A loop device that was detached, or a file that was closed, keeps its file system busy for a
 * moment more; a mount namespace that somebody made meanwhile holds a copy of our mounts for as
 * long as it lives, so then it is detached.
 */
async function unmountPatiently(directory: string): Promise<void> {
  const deadline = performance.now() + busyMsMax;
  for (;;) {
    try {
      await run("umount", directory);
      return;
    } catch (error) {
      if (!/busy/.test(String(error))) throw error;
      if (performance.now() > deadline) break;
      await delay(20);
    }
  }
  await run("umount", "-l", directory);
}

export class DiskRig {
  readonly directory = mkdtempSync(join(tmpdir(), "opensprites-rig-"));
  readonly #options: VolumeOptions;
  #child: ChildProcess | null = null;
  #device: string | null = null;
  #isMounted = false;
  #isServed = false;
  #nextId = 1;
  /** Held here when the mount outlives the server; else the server opens its own. */
  #descriptor: number | null = null;
  readonly #waiting = new Map<number, (line: { value?: unknown; error?: string }) => void>();

  constructor(options: Partial<VolumeOptions> = {}) {
    this.#options = {
      bucket: join(this.directory, "bucket"),
      prefix: "sprites/test",
      cacheDirectory: this.cacheDirectory,
      cacheSizeBytesMax: 2 ** 32,
      sizeBytes: 2 ** 30,
      readOnly: false,
      syncIntervalMs: 200,
      ...options,
    };
    for (const name of ["fuse", "disk"]) mkdirSync(join(this.directory, name));
  }

  get cacheDirectory(): string {
    return join(this.directory, "cache");
  }

  get disk(): string {
    return join(this.directory, "disk");
  }

  get fuse(): string {
    return join(this.directory, "fuse");
  }

  /** Mounts the FUSE file system here, so that it outlives the servers that `start` starts. */
  async holdMount(): Promise<void> {
    this.#descriptor = openFuseDevice();
    await mountFuse({ descriptor: this.#descriptor, directory: this.fuse });
    this.#isServed = true;
  }

  /** Starts the child, which mounts the FUSE file system or serves the one that is held here. */
  async start(): Promise<void> {
    const script = fileURLToPath(new URL("volume-child.ts", import.meta.url));
    const held = this.#descriptor === null ? [] : [this.#descriptor];
    const child = spawn(process.execPath, [script, JSON.stringify(this.#options)], {
      stdio: ["pipe", "pipe", "inherit", ...held],
    } satisfies SpawnOptions);
    this.#child = child;
    createInterface({ input: must(child.stdout, "the output is a pipe") }).on("line", (line) => {
      const message = JSON.parse(line) as { id: number; value?: unknown; error?: string };
      this.#waiting.get(message.id)?.(message);
      this.#waiting.delete(message.id);
    });
    child.on("exit", () => {
      for (const settle of this.#waiting.values()) settle({ error: "the child ended" });
      this.#waiting.clear();
    });
    const given = { descriptor: 3, alreadyMounted: true };
    await this.call("mount", this.fuse, ...(this.#descriptor === null ? [] : [given]));
    this.#isServed = true;
  }

  async call<T>(method: string, ...args: unknown[]): Promise<T> {
    const id = this.#nextId++;
    const answer = new Promise<{ value?: unknown; error?: string }>((resolve) => {
      this.#waiting.set(id, resolve);
    });
    this.#child?.stdin?.write(`${JSON.stringify({ id, method, args })}\n`);
    const { value, error } = await answer;
    if (error !== undefined) throw new Error(error);
    return value as T;
  }

  async attach(options: { format: boolean }): Promise<void> {
    const backing = join(this.fuse, "live");
    this.#device = await run(
      ...(["losetup", "--direct-io=on", "--sector-size", "4096", "-f", "--show", backing] as const),
    );
    if (options.format) {
      await run("mkfs.ext4", "-q", "-E", "lazy_itable_init=1,lazy_journal_init=1", this.#device);
    }
    await run("mount", "-o", "noatime,discard", this.#device, this.disk);
    this.#isMounted = true;
  }

  async unmountDisk(): Promise<void> {
    if (!this.#isMounted) return;
    await unmountPatiently(this.disk);
    this.#isMounted = false;
  }

  async detach(): Promise<void> {
    await this.unmountDisk();
    if (this.#device !== null) await run("losetup", "-d", this.#device);
    this.#device = null;
  }

  /** A full check of the unmounted file system. @throws when it is not clean */
  async check(): Promise<void> {
    await this.unmountDisk();
    await run("e2fsck", "-fn", this.#device ?? "");
  }

  /** kill -9: everything above gets errors from now on. */
  async killServer(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null || child.exitCode !== null) return;
    child.kill("SIGKILL");
    if (child.signalCode === null) await once(child, "exit");
  }

  /** Kills the server and takes down what stood on it. */
  async kill(): Promise<void> {
    await this.killServer();
    // Without a server, what stands on the mount would wait for ever.
    this.#letGo();
    await this.detach();
    if (this.#isServed) await unmountPatiently(this.fuse);
    this.#isServed = false;
  }

  #letGo(): void {
    if (this.#descriptor !== null) closeSync(this.#descriptor);
    this.#descriptor = null;
  }

  async stop(): Promise<void> {
    await this.detach();
    this.#letGo();
    await this.call("close", { discard: false });
    this.#isServed = false;
    this.#child?.stdin?.end();
    if (this.#child !== null && this.#child.exitCode === null) await once(this.#child, "exit");
    this.#child = null;
  }

  async dispose(): Promise<void> {
    await this.kill();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
