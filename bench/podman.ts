/** The peer for whole boxes: Debian's podman on the same image, with storage of its own on the host's disk. */
import { spawn, type ChildProcessByStdio } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { plainEnvironment, runCommand } from "../src/host/command.ts";
import type { Cleanup } from "./cleanup.ts";
import { removeCgroups } from "./machine.ts";

const commandTimeoutMs = 180_000;
const importTimeoutMs = 180_000;
const image = "localhost/bench:latest";

export class Podman {
  readonly name = "podman";
  readonly #globalArguments: readonly string[];
  readonly #createArguments: readonly string[];
  /** Keeps what podman unpacks inside the bench's own directory. */
  readonly #environment: Record<string, string>;
  readonly #names = new Set<string>();
  #counter = 0;

  private constructor(
    directory: string,
    globalArguments: readonly string[],
    createArguments: readonly string[],
  ) {
    this.#globalArguments = globalArguments;
    this.#createArguments = createArguments;
    this.#environment = { ...plainEnvironment, TMPDIR: directory };
  }

  /** Imports the tree of the image. @throws with the reason when podman cannot run a container on this machine */
  static async prepare(options: {
    directory: string;
    imageMount: string;
    cleanup: Cleanup;
  }): Promise<Podman> {
    const { directory, imageMount, cleanup } = options;
    const cgroupParent = `/opensprites-bench-${process.pid}`;
    const storage = ["--root", join(directory, "root"), "--runroot", join(directory, "run")];
    // runc and cgroupfs, because crun 1.8 and systemd want another machine than many have.
    const ways = ["--runtime", "runc", "--cgroup-manager", "cgroupfs", "--events-backend", "none"];
    const podman = new Podman(
      directory,
      [...storage, "--tmpdir", join(directory, "tmp"), ...ways],
      [...(await allowedLimits()), "--network", "none", "--cgroup-parent", cgroupParent],
    );
    cleanup.add("remove the podman containers", async () => {
      await podman.#removeAll();
      await removeCgroups(cgroupParent);
    });
    await podman.#import(imageMount);
    const trial = await podman.start();
    await podman.remove(trial);
    return podman;
  }

  /** A running container with a sleeping main process; its name. */
  async start(options: { image?: string } = {}): Promise<string> {
    const name = this.newName();
    await this.#podman([
      ...["run", "--detach", "--name", name, ...this.#createArguments],
      ...[options.image ?? image, "sleep", "7200"],
    ]);
    return name;
  }

  async exec(container: string, command: readonly string[]): Promise<string> {
    return await this.#podman(["exec", container, ...command]);
  }

  async pause(container: string): Promise<void> {
    await this.#podman(["pause", container]);
  }

  async unpause(container: string): Promise<void> {
    await this.#podman(["unpause", container]);
  }

  /** Its processes are killed; what it wrote stays. */
  async stop(container: string): Promise<void> {
    await this.#podman(["stop", "--time", "0", container]);
  }

  /** One that was stopped. */
  async restart(container: string): Promise<void> {
    await this.#podman(["start", container]);
  }

  /** A file of one that may have been stopped. */
  async copyOut(container: string, path: string): Promise<void> {
    await this.#podman(["cp", `${container}:${path}`, "-"]);
  }

  /** Resolves once the command has been started. */
  async execDetached(container: string, command: readonly string[]): Promise<void> {
    await this.#podman(["exec", "--detach", container, ...command]);
  }

  /** `podman run` of one command; the milliseconds until its first output. */
  async firstOutputMs(command: readonly string[]): Promise<number> {
    const name = this.newName();
    const startedAtMs = performance.now();
    const child = spawn(
      "podman",
      [
        ...this.#globalArguments,
        "run",
        "--name",
        name,
        ...this.#createArguments,
        image,
        ...command,
      ],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    await once(child.stdout, "data");
    const elapsedMs = performance.now() - startedAtMs;
    child.stdout.resume();
    if (child.exitCode === null) await once(child, "exit");
    await this.remove(name);
    return elapsedMs;
  }

  /** Streams what a command in the container prints. */
  spawn(container: string, command: readonly string[]): ChildProcessByStdio<null, Readable, null> {
    return spawn("podman", [...this.#globalArguments, "exec", container, ...command], {
      stdio: ["ignore", "pipe", "inherit"],
    });
  }

  /** The name of the image that it makes. */
  async commit(container: string): Promise<string> {
    const name = `localhost/snapshot:${++this.#counter}`;
    await this.#podman(["commit", "--quiet", container, name]);
    return name;
  }

  async remove(container: string): Promise<void> {
    await this.#podman(["rm", "--force", "--time", "0", container]);
    this.#names.delete(container);
  }

  async removeImage(name: string): Promise<void> {
    await this.#podman(["rmi", "--force", name]);
  }

  newName(): string {
    const name = `bench-${process.pid}-${++this.#counter}`;
    this.#names.add(name);
    return name;
  }

  async #import(imageMount: string): Promise<void> {
    const podman = ["podman", ...this.#globalArguments, "import", "--quiet", "-", image];
    const script = 'set -eo pipefail; tar -C "$1" -cf - . | "${@:2}"';
    await runCommand("bash", ["-c", script, "import", imageMount, ...podman], {
      ...{ deadlineMs: importTimeoutMs, environment: this.#environment },
    });
  }

  async #podman(args: readonly string[]): Promise<string> {
    const { stdout } = await runCommand("podman", [...this.#globalArguments, ...args], {
      ...{ deadlineMs: commandTimeoutMs, environment: this.#environment },
    });
    return stdout;
  }

  async #removeAll(): Promise<void> {
    for (const name of this.#names) {
      // A name whose container was never made is no error here.
      await this.remove(name).catch(() => undefined);
    }
    await runCommand("umount", ["--lazy", join(this.#globalArguments[1] ?? "", "overlay")], {
      deadlineMs: 10_000,
    }).catch(() => undefined);
  }
}

/** Limits that a root without CAP_SYS_RESOURCE may give: podman's own defaults are above what such a root has. */
async function allowedLimits(): Promise<string[]> {
  const text = await readFile("/proc/self/limits", "utf8");
  const limit = (name: string, wanted: number): number => {
    const hard = new RegExp(`^${name} +\\S+ +(\\d+)`, "m").exec(text)?.[1];
    return Math.min(wanted, Number(hard ?? wanted));
  };
  const files = limit("Max open files", 65_536);
  const processes = limit("Max processes", 4_096);
  return ["--ulimit", `nofile=${files}:${files}`, "--ulimit", `nproc=${processes}:${processes}`];
}
