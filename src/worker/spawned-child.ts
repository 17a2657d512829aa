import { spawn, type ChildProcess, type SpawnOptions } from "node:child_process";
import { closeSync } from "node:fs";
import { join } from "node:path";
import { readJsonLines } from "../base/json-lines.ts";
import { patienceVariable } from "../base/log.ts";
import { nodeProcess } from "../base/node-process.ts";
import { identifyProcess } from "../base/process-identity.ts";
import { aheadFlag, logDescriptorKey, type PassedDescriptor } from "../contract/agent-startup.ts";
import { openPipe } from "../host/pipe.ts";
import { lineBytesMax } from "./limits.ts";
import type { ChildLink, SupervisedOptions } from "./supervised-process.ts";

/** The program of an agent. */
export const agentModule = join(import.meta.dirname, "../agent/main.ts");

/** The one the child was given its first descriptor as; standard streams come before. */
const firstPassedDescriptor = 3;

/** Which mounts the child sees: ours, a copy of ours, or those of the namespace behind a path. */
export type ChildMounts = "ours" | "copy" | { of: string };

export interface SpawnOptionsOfChild extends Pick<
  SupervisedOptions,
  "modulePath" | "kept" | "mounts"
> {
  /** It loads its code before it is told what to do. */
  isAhead?: boolean;
}

/** A child that this server starts. */
export class SpawnedChild implements ChildLink {
  readonly exited: ChildLink["exited"];
  readonly #child: ChildProcess;
  readonly #descriptors: readonly PassedDescriptor[];

  constructor(options: SpawnOptionsOfChild) {
    const { kept } = options;
    const { readEnd, writeEnd } = openPipe();
    kept.put(logDescriptorKey, readEnd);
    const passed = kept.list();
    try {
      this.#child = spawnChild(options, { passed, stderr: writeEnd });
    } finally {
      closeSync(writeEnd);
    }
    const child = this.#child;
    this.exited = new Promise((resolve) => {
      child.once("close", (code, signal) => resolve({ code, signal }));
      child.once("error", () => resolve({ code: null, signal: null }));
    });
    child.stdin?.on("error", () => undefined);
    this.#descriptors = passed.map(({ key }, index) => ({
      ...{ key, descriptor: firstPassedDescriptor + index },
    }));
  }

  /** Its first line: what it is to do. */
  begin(startup: SupervisedOptions["startup"]): void {
    this.send(startup(this.#descriptors));
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get alive(): boolean {
    const { pid, exitCode, signalCode } = this.#child;
    if (pid === undefined || exitCode !== null || signalCode !== null) return false;
    return identifyProcess(pid) !== null;
  }

  listen(onValue: (value: unknown) => void, onOther: (line: string) => void): void {
    const { stdout } = this.#child;
    if (stdout !== null) readJsonLines(stdout, { lineBytesMax, onValue, onOther });
  }

  send(line: unknown): void {
    this.#child.stdin?.write(`${JSON.stringify(line)}\n`);
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }
}

function spawnChild(
  { modulePath, mounts, isAhead }: Omit<SpawnOptionsOfChild, "kept">,
  { passed, stderr }: { passed: readonly PassedDescriptor[]; stderr: number },
): ChildProcess {
  const { file, args: ownArguments, environment } = nodeProcess(modulePath);
  const args = isAhead === true ? [...ownArguments, aheadFlag] : ownArguments;
  // A session of its own, so that a terminal's Ctrl+C reaches only the server, which then stops its
  // children in order.
  const common: SpawnOptions = {
    stdio: ["pipe", "pipe", stderr, ...passed.map(({ descriptor }) => descriptor)],
    detached: true,
    env: { ...process.env, ...environment, [patienceVariable]: "none" },
  };
  if (mounts === "ours") return spawn(file, args, common);
  // unshare(1) and nsenter(1) replace themselves by the child, so the child keeps the process id
  // that we see.
  if (mounts === "copy") {
    const unshareArguments = ["--mount", "--propagation", "private", "--", file];
    return spawn("unshare", [...unshareArguments, ...args], common);
  }
  return spawn("nsenter", [`--mount=${mounts.of}`, "--", file, ...args], common);
}
