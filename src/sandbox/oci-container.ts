/** One container of an OCI runtime, through the runtime's command line. */
import { spawn, type ChildProcess } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";

import { assert } from "../base/assert.ts";
import type { RuntimeName } from "../contract/agent-startup.ts";
import { HostError, plainEnvironment, runCommand } from "../host/command.ts";
import { errorTextCharactersMax } from "../host/limits.ts";
import { deleteContainer } from "../host/runtime.ts";
import { bootOutputBytesMax, runtimeCallMsMax, runtimeStartMsMax } from "./limits.ts";

export interface OciContainerOptions {
  /** Program name. */
  runtime: RuntimeName;
  /** The runtime's state directory. */
  root: string;
  containerId: string;
  bundleDirectory: string;
}

export interface StartedContainer {
  /** Process id of the container's first process, seen from the host. */
  pid: number;
  /** What the first process has written so far, up to a limit. */
  output(): string;
  /** Settles with the first process's end: nobody else holds its output. */
  ended: Promise<void>;
}

export class OciContainer {
  readonly #options: OciContainerOptions;

  constructor(options: OciContainerOptions) {
    this.#options = options;
  }

  /** True when the runtime knows a container of that name: one whose agent was killed. */
  get exists(): boolean {
    return existsSync(join(this.#options.root, this.#options.containerId));
  }

  /**
   * Starts the container from the bundle's config.json; its first process gets the given standard
   * input.
   * @throws HostError
   */
  async run(options: { stdin: number }): Promise<StartedContainer> {
    const { runtime: program, root, bundleDirectory, containerId } = this.#options;
    const pidFile = join(bundleDirectory, "pid");
    const args = ["--root", root, "run", "--detach", "--pid-file", pidFile];
    const child = spawn(program, [...args, "--bundle", bundleDirectory, containerId], {
      stdio: [options.stdin, "pipe", "pipe"],
      env: { ...plainEnvironment },
      // Its own process group: a terminal's Ctrl+C is for the server, which stops containers in order.
      detached: true,
    });
    const { stdout, stderr } = child;
    assert(stdout !== null && stderr !== null, "both are pipes");
    // Read from the beginning: when the runtime exits, Node throws away what nobody listens to.
    const output = remember(stdout, bootOutputBytesMax);
    const complaints = remember(stderr, bootOutputBytesMax);
    const ended = new Promise<void>((resolve) => {
      stdout.on("close", resolve);
    });
    const exitCode = await exitOf(child, program);
    if (exitCode !== 0) {
      const text = complaints().trim();
      const message = `${program} exited with ${exitCode}: ${text.slice(-errorTextCharactersMax)}`;
      throw new HostError("exit_status", message, {
        command: `${program} run`,
        exitCode,
        stderr: text,
      });
    }
    const pid = Number(await readFile(pidFile, "utf8"));
    return { pid, output, ended };
  }

  /** Changes its limits while it runs. @throws HostError */
  async update(resources: object): Promise<void> {
    const { runtime, root, containerId } = this.#options;
    const args = ["--root", root, "update", "--resources", "-", containerId];
    const input = JSON.stringify(resources);
    await runCommand(runtime, args, { deadlineMs: runtimeCallMsMax, input });
  }

  /** Ends whatever is left of it and forgets it. Does nothing to a container that does not exist. */
  async delete(): Promise<void> {
    await deleteContainer({ ...this.#options, deadlineMs: runtimeCallMsMax });
  }
}

/** The runtime's own exit; its streams live on in the container. */
function exitOf(child: ChildProcess, program: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      const message = `${program} did not start the container within ${runtimeStartMsMax} ms`;
      reject(new HostError("deadline_exceeded", message, { command: `${program} run` }));
    }, runtimeStartMsMax);
    child.on("error", (cause) => {
      clearTimeout(timer);
      reject(new HostError("not_found", `cannot run ${program}`, { command: program, cause }));
    });
    child.on("exit", (code) => {
      clearTimeout(timer);
      resolve(code ?? -1);
    });
  });
}

/** Reads a stream to its end and keeps its beginning. */
function remember(stream: Readable, bytesMax: number): () => string {
  let text = "";
  stream.on("data", (bytes: Buffer) => {
    if (text.length < bytesMax) text += bytes.toString("utf8");
  });
  // An error shows as the stream's end.
  stream.on("error", () => {});
  return () => text;
}
