/** The peer for freezing: a container of Debian's lxc on the bench's image, with a sleeping main process and no network. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { runCommand } from "../src/host/command.ts";
import type { Bench } from "./context.ts";

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
    const name = `bench-${process.pid}`;
    const directory = join(bench.directory, "lxc");
    const container = new LxcContainer(name, directory);
    try {
      await mkdir(join(directory, name), { recursive: true });
      const lines = [
        `lxc.uts.name = ${name}`,
        `lxc.rootfs.path = dir:${bench.imageMount}`,
        "lxc.rootfs.options = ro",
        "lxc.net.0.type = none",
        "lxc.apparmor.profile = unconfined",
        "lxc.init.cmd = /bin/sleep 7200",
        "lxc.autodev = 0",
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
  }

  async #run(program: string, args: readonly string[]): Promise<void> {
    await runCommand(program, ["-P", this.#directory, "-n", this.#name, ...args], {
      deadlineMs: commandTimeoutMs,
    });
  }
}
