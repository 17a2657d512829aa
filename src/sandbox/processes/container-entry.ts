import { writeFileSync } from "node:fs";
import { join } from "node:path";

import type { RuntimeName } from "../../contract/agent-startup.ts";
import { runCommand } from "../../host/command.ts";
import { programNames } from "./shell-text.ts";

export interface ContainerAccess {
  runtime: RuntimeName;
  /** State directory of the OCI runtime. */
  runtimeRoot: string;
  containerId: string;
  /** On the host, not visible inside. */
  runDirectory: string;
  /** Where the FIFO directory is seen inside. */
  insideDirectory: string;
  busyboxPath: string;
  user: { uid: number; gid: number; additionalGids: readonly number[] };
  /** What a set-user-id program may gain; without it, what the container's own process may. */
  boundingCapabilities?: readonly string[] | undefined;
  /** True: nobody gains anything by starting a program, `sudo` neither. */
  noNewPrivileges?: boolean | undefined;
  /** Without them commands have the limits of this process, not the container's. */
  resourceLimits?: ReadonlyArray<{ type: string; soft: number; hard: number }> | undefined;
}

/**
 * Entering the container through the OCI runtime, so that its seccomp filter, cgroup and limits
 * hold.
 */
export class ContainerEntry {
  readonly #access: ContainerAccess;

  constructor(access: ContainerAccess) {
    this.#access = access;
  }

  /** The runtime's program. */
  get file(): string {
    return this.#access.runtime;
  }

  /** Runs one of the programs inside; resolves when its first process has ended. @throws HostError */
  async execute(
    program: keyof typeof programNames,
    slot: number,
    deadlineMs: number,
  ): Promise<void> {
    const args = this.executeArguments(program, slot, { terminal: false });
    await runCommand(this.#access.runtime, args, { deadlineMs });
  }

  executeArguments(
    program: keyof typeof programNames,
    slot: number,
    options: { terminal: boolean; pidFile?: string },
  ): string[] {
    const { runtimeRoot, containerId } = this.#access;
    const file = this.processFile(program, slot);
    writeFileSync(file, JSON.stringify(this.#process(program, slot, options.terminal)));
    return [
      ...["--root", runtimeRoot, "exec", "--process", file],
      ...(options.terminal ? ["--tty"] : []),
      ...(options.pidFile === undefined ? [] : ["--pid-file", options.pidFile]),
      containerId,
    ];
  }

  processFile(program: keyof typeof programNames, slot: number): string {
    return join(this.#access.runDirectory, `${program}-${slot}.json`);
  }

  #process(program: keyof typeof programNames, slot: number, terminal: boolean): object {
    const {
      busyboxPath,
      insideDirectory,
      user,
      boundingCapabilities,
      resourceLimits,
      noNewPrivileges,
    } = this.#access;
    const script = `${insideDirectory}/${programNames[program]}`;
    return {
      terminal,
      user: { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids },
      // The runtime adds a HOME; the programs start from nothing.
      args: [
        ...[busyboxPath, "env", "-i", busyboxPath, "sh", script],
        ...[insideDirectory, String(slot), busyboxPath],
      ],
      env: [],
      cwd: "/",
      // `sudo` is how the guest becomes its own root.
      noNewPrivileges: noNewPrivileges === true,
      ...(boundingCapabilities === undefined
        ? {}
        : { capabilities: { bounding: boundingCapabilities } }),
      ...(resourceLimits === undefined ? {} : { rlimits: resourceLimits }),
    };
  }
}
