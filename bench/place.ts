/** Somewhere a disk workload runs: inside a sprite, or on a disk of the host. The binaries are the same, the disk differs. */
import { once } from "node:events";
import { createReadStream } from "node:fs";
import { copyFile, chown, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { ExecError, type Sprite } from "@fly/sprites";
import { withDeadline } from "../src/base/wait.ts";
import { runCommand } from "../src/host/command.ts";
import type { Cleanup } from "./cleanup.ts";

export interface Place {
  readonly name: string;
  /** Runs a bash script in the home of user `sprite`. Resolves with its standard output; rejects unless it exits 0. */
  run(script: string): Promise<string>;
  /** Copies a local file to `~/<name>`. */
  put(localPath: string, name: string): Promise<void>;
}

const scriptTimeoutMs = 180_000;
const errorCharactersMax = 300;
/** The sprite's user in the images. */
const userId = 1000;
const home = "/home/sprite";
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

export class SpritePlace implements Place {
  readonly name = "sprite";
  readonly sprite: Sprite;

  constructor(sprite: Sprite) {
    this.sprite = sprite;
  }

  async run(script: string): Promise<string> {
    const work = this.sprite.execFile("bash", ["-ec", `cd ~\n${script}`]);
    const result = await withDeadline(work, {
      timeoutMs: scriptTimeoutMs,
      onTimeout: () => new Error(`a script in the sprite took more than ${scriptTimeoutMs} ms`),
    }).catch((error: unknown) => {
      if (!(error instanceof ExecError)) throw error;
      const said = String(error.stderr).trim().slice(-errorCharactersMax);
      throw new Error(`a script in the sprite: ${error.message}: ${said}`, { cause: error });
    });
    return String(result.stdout);
  }

  async put(localPath: string, name: string): Promise<void> {
    const command = this.sprite.spawn("bash", ["-c", `cat > ~/${name}`]);
    await once(command, "spawn");
    await pipeline(createReadStream(localPath), command.stdin);
    const code = await command.wait();
    if (code !== 0) throw new Error(`copy ${localPath} into the sprite: exit code ${code}`);
  }
}

/** The image as a lower layer and a directory of the host as the upper one, entered by chroot. */
export class ChrootPlace implements Place {
  readonly name: string;
  readonly #root: string;

  private constructor(name: string, root: string) {
    this.name = name;
    this.#root = root;
  }

  /**
   * @param options.directory An empty directory on the file system under test.
   * @param options.home The directory under test, when a root's upper layer cannot lie there.
   */
  static async mount(options: {
    name: string;
    imageMount: string;
    directory: string;
    cleanup: Cleanup;
    home?: string;
  }): Promise<ChrootPlace> {
    const { name, imageMount, directory, cleanup } = options;
    const [upper, work, root] = ["upper", "work", "root"].map((part) => join(directory, part));
    if (upper === undefined || work === undefined || root === undefined) throw new Error("paths");
    await Promise.all([upper, work, root].map((path) => mkdir(path, { recursive: true })));
    const layers = `lowerdir=${imageMount},upperdir=${upper},workdir=${work}`;
    await mount(["-t", "overlay", "-o", layers, "overlay", root], { at: root, cleanup });
    await mount(["-t", "proc", "proc", join(root, "proc")], { at: join(root, "proc"), cleanup });
    await mount(["--bind", "/dev", join(root, "dev")], { at: join(root, "dev"), cleanup });
    if (options.home !== undefined) {
      await mount(["--bind", options.home, join(root, home)], { at: join(root, home), cleanup });
    }
    return new ChrootPlace(name, root);
  }

  async run(script: string): Promise<string> {
    const environment = [`HOME=${home}`, "USER=sprite", `PATH=${searchPath}`, "LANG=C.UTF-8"];
    const { stdout } = await runCommand(
      "chroot",
      [
        ...[`--userspec=${userId}:${userId}`, this.#root, "/usr/bin/env", "-i", ...environment],
        ...["bash", "-ec", `cd ~\n${script}`],
      ],
      { deadlineMs: scriptTimeoutMs },
    );
    return stdout;
  }

  async put(localPath: string, name: string): Promise<void> {
    const path = join(this.#root, home, name);
    await copyFile(localPath, path);
    await chown(path, userId, userId);
  }
}

export async function mount(
  args: readonly string[],
  options: { at: string; cleanup: Cleanup },
): Promise<void> {
  const { at, cleanup } = options;
  await runCommand("mount", args, { deadlineMs: 10_000 });
  // Lazy, since a process killed a moment ago may still hold it; nobody else sees this mount namespace.
  cleanup.add(`unmount ${at}`, async () => {
    await runCommand("umount", ["--recursive", "--lazy", at], { deadlineMs: 10_000 });
  });
}
