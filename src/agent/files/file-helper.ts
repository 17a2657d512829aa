/** The child process that touches the sprite's files (helper/file-helper-process.ts), seen from the agent. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { fileURLToPath } from "node:url";

import type { Log } from "../../base/log.ts";
import { nodeProcess } from "../../base/node-process.ts";
import { settlesWithin, withDeadline } from "../../base/wait.ts";
import { plainEnvironment } from "../../host/command.ts";
import { readyText, type HelperStart } from "./helper-protocol.ts";
import { helperEndMsMax, helperStartMsMax } from "./limits.ts";

const program = fileURLToPath(new URL("./helper/file-helper-process.ts", import.meta.url));

/** What a root needs of files: to own them, to pass them on, and to be refused by none. */
const capabilities = ["chown", "dac_override", "fowner", "fsetid"];

export class FileHelper {
  readonly #start: HelperStart;
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  readonly #ready: Promise<void>;

  /** @param rootDescriptor copied by the child: the caller closes it */
  constructor(start: HelperStart, rootDescriptor: number, log: Log) {
    this.#start = start;
    // Whoever died before us has left it.
    rmSync(start.socketPath, { force: true });
    const { file, args } = nodeProcess(program);
    const id = String(start.hostIdBase);
    const sets = ["all", ...capabilities].map((name, index) =>
      index === 0 ? `-${name}` : `+${name}`,
    );
    const privileges = ["--bounding-set", "--inh-caps", "--ambient-caps"].flatMap((option) => [
      option,
      sets.join(","),
    ]);
    this.#child = spawn(
      "setpriv",
      [...["--reuid", id, "--regid", id, "--clear-groups"], ...privileges, "--", file, ...args],
      {
        stdio: ["pipe", "pipe", "pipe", rootDescriptor],
        // Without the compile cache, which belongs to another user.
        env: { ...plainEnvironment, MALLOC_ARENA_MAX: "1" },
        detached: true,
      },
    );
    const { stdin, stdout, stderr } = this.#child;
    this.#exited = once(this.#child, "exit").catch(() => undefined);
    stdin?.on("error", () => undefined);
    stdin?.write(`${JSON.stringify(start)}\n`);
    stderr?.on("data", (bytes: Buffer) => {
      log.error({ output: bytes.toString("utf8").slice(0, 2000) }, "the file helper complained");
    });
    this.#ready = this.#whenReady(stdout);
    this.#ready.catch(() => undefined);
  }

  /** Settles when the process is gone, for whatever reason. */
  get exited(): Promise<unknown> {
    return this.#exited;
  }

  /** A connection for one operation. */
  async connect(): Promise<Socket> {
    await this.#ready;
    const socket = connect({ path: this.#start.socketPath, allowHalfOpen: true });
    try {
      await once(socket, "connect");
    } catch (error) {
      socket.destroy();
      throw error;
    }
    socket.on("error", () => socket.destroy());
    return socket;
  }

  /** Whatever it was at is broken off. False when it hangs in the kernel and is left behind. */
  async end(): Promise<boolean> {
    this.#child.kill("SIGKILL");
    const isGone = await settlesWithin(this.#exited, helperEndMsMax);
    this.#child.stdin?.destroy();
    this.#child.stdout?.destroy();
    this.#child.stderr?.destroy();
    if (!isGone) this.#child.unref();
    return isGone;
  }

  async #whenReady(stdout: ChildProcess["stdout"]): Promise<void> {
    const written = new Promise<void>((resolve) => {
      stdout?.on("data", (bytes: Buffer) => {
        if (bytes.toString() === readyText) resolve();
      });
    });
    const ended = this.#exited.then(() => {
      throw new Error("the file helper ended");
    });
    await withDeadline(Promise.race([written, ended]), {
      timeoutMs: helperStartMsMax,
      onTimeout: () => new Error("the file helper does not start"),
    });
  }
}
