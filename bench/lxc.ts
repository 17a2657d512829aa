/** The peer for freezing: a container of Debian's lxc on the bench's image, with a sleeping main process and no network. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { runCommand } from "../src/host/command.ts";
import type { Bench } from "./context.ts";
import { removeCgroups } from "./machine.ts";

const commandTimeoutMs = 30_000;

export class LxcContainer {
  readonly #name: string;
  readonly #directory: string;

  private constructor(name: string, directory: string) {
    this.#name = name;
    this.#directory = directory;
  }

  /** The reason as text where lxc cannot run a container. */
  static async start(bench: Bench): Promise<LxcContainer | string> {
    const name = `opensprites-bench-lxc-${process.pid}`;
    const directory = join(bench.directory, "lxc");
    const container = new LxcContainer(name, directory);
    try {
      await mkdir(join(directory, name), { recursive: true });
      const lines = [
        `lxc.uts.name = ${name}`,
        `lxc.rootfs.path = dir:${bench.imageMount}`,
        "lxc.net.0.type = empty",
        "lxc.apparmor.profile = unconfined",
        "lxc.init.cmd = /bin/sleep 7200",
        // The image is read-only: /dev is memory, and its console there.
        "lxc.autodev = 1",
        "lxc.mount.auto = proc:mixed sys:ro",
        `lxc.cgroup.dir = ${name}`,
      ];
      await writeFile(join(directory, name, "config"), `${lines.join("\n")}\n`);
      bench.cleanup.add("end the lxc container", () => container.#end());
      await container.#run("lxc-start", ["--daemon"]);
      await container.freeze();
      await container.unfreeze();
      return container;
    } catch (error) {
      return `lxc does not run here: ${(error as Error).message.slice(0, 200)}`;
    }
  }

  async freeze(): Promise<void> {
    await this.#run("lxc-freeze", []);
  }

  async unfreeze(): Promise<void> {
    await this.#run("lxc-unfreeze", []);
  }

  async #end(): Promise<void> {
    await this.#run("lxc-stop", ["--kill"]).catch(() => undefined);
    // It leaves both behind.
    for (const name of [this.#name, "lxc.pivot"]) await removeCgroups(`/${name}`);
  }

  async #run(program: string, args: readonly string[]): Promise<void> {
    await runCommand(program, ["-P", this.#directory, "-n", this.#name, ...args], {
      deadlineMs: commandTimeoutMs,
    });
  }
}
