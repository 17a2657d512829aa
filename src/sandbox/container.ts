/**
 * A sprite's sandbox: root file system, container, network and launcher brought up and taken down
 * in order.
 */
import { closeSync, constants, openSync, readFileSync } from "node:fs";
import { chmod, mkdir, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";

import { assert, must } from "../base/assert.ts";
import { noKeeper, type DescriptorKeeper } from "../base/descriptor-keeper.ts";
import type { Log } from "../base/log.ts";
import {
  identifyProcess,
  isAlive,
  signalProcess,
  type ProcessIdentity,
} from "../base/process-identity.ts";
import { waitUntil } from "../base/wait.ts";
import type { SpriteLimits } from "../contract/agent-startup.ts";
import { SpriteError } from "../contract/errors.ts";
import type { PrivilegesPolicy } from "../contract/policy.ts";
import { freezeCgroup, thawCgroup } from "../host/cgroup-freezer.ts";
import {
  canLimitSwap,
  cgroupMode,
  memoryInUse,
  processorTimeMs,
  workingSetBytes,
} from "../host/cgroups.ts";
import { createHostHelper, type HostHelper } from "../host/host-helper.ts";
import { setNamespaceHostname } from "../host/namespace-hostname.ts";
import { containerId } from "./container-id.ts";
import { FirstProcessRecord, watchProcess } from "./first-process.ts";
import { GuestNetwork } from "./guest-network.ts";
import { adoptLifeline, createLifeline, type Lifeline } from "./lifeline.ts";
import { busyboxPath, namedLine, readyLine } from "./init-script.ts";
import {
  bootMsMax,
  killMsMax,
  killPassedOnMs,
  openFilesHard,
  openFilesSoft,
  renewalMsMax,
} from "./limits.ts";
import { cutConnections } from "./cut-connections.ts";
import { limitedResources, ociConfig, resourceLimits } from "./oci-config.ts";
import { connectNetwork, disconnectNetwork } from "./network.ts";
import { privilegesOf, type Privileges } from "./privileges.ts";
import { createLauncher, type ContainerLauncher } from "./processes/launcher.ts";
import type {
  AdoptedProcess,
  Command,
  PipeProcess,
  ProcessRecord,
  TerminalProcess,
  TerminalSize,
} from "./process.ts";
import { Rootfs } from "./rootfs.ts";
import { OciContainer, type StartedContainer } from "./oci-container.ts";
import { seccompProfile } from "./seccomp.ts";
import type { Sandbox, SandboxOptions } from "./sandbox.ts";

/** Where commands meet the launcher, below /.sprite. */
const fifoDirectoryName = "run";

/** Whom commands run as: the image's own user. */
const spriteUser = { uid: 1000, gid: 1000, additionalGids: [] };

/** The host's static BusyBox, of Debian's package busybox-static. */
const busyboxFile = "/usr/bin/busybox";

export interface SandboxParts {
  /** Has kept what is to outlive this process. */
  keeper?: DescriptorKeeper;
  /** Shared with whoever else in this process needs one; otherwise the sandbox has its own. */
  helper?: HostHelper;
}

export function createSandbox(
  options: SandboxOptions,
  log: Log,
  parts: SandboxParts = {},
): Sandbox {
  return new ContainerSandbox(options, log, parts);
}

class ContainerSandbox implements Sandbox {
  readonly died: Promise<{ reason: string }>;
  readonly killed: Promise<void>;
  readonly #options: SandboxOptions;
  readonly #log: Log;
  readonly #helper: HostHelper;
  readonly #ownsHelper: boolean;
  readonly #rootfs: Rootfs;
  readonly #container: OciContainer;
  readonly #launcher: ContainerLauncher;
  readonly #bundleDirectory: string;
  readonly #keeper: DescriptorKeeper;
  readonly #record: FirstProcessRecord;
  readonly #privileges: Privileges;
  #startedWith: PrivilegesPolicy | null = null;
  #state: "new" | "starting" | "running" | "stopping" | "stopped" = "new";
  #lifeline: (Pick<Lifeline, "close"> & Partial<Lifeline>) | null = null;
  #saysLine: ((line: string) => Promise<boolean>) | null = null;
  #watch: { stop(): void } | null = null;
  #first: ProcessIdentity | null = null;
  #prepared: Promise<void> | null = null;
  #started: Promise<void> | null = null;
  #takenDown: Promise<void> | null = null;
  #onDied: (value: { reason: string }) => void = () => {};
  readonly #onKilled: () => void;

  constructor(options: SandboxOptions, log: Log, parts: SandboxParts) {
    this.#options = options;
    this.#log = log;
    this.#privileges = privilegesOf(options.privileges ?? {});
    this.#ownsHelper = parts.helper === undefined;
    this.#helper = parts.helper ?? createHostHelper(log);
    this.#rootfs = new Rootfs(options, this.#helper, log);
    this.#bundleDirectory = join(options.runDirectory, "bundle");
    this.#record = new FirstProcessRecord(this.#bundleDirectory);
    this.#keeper = parts.keeper ?? noKeeper;
    this.#container = new OciContainer({
      runtime: options.runtime,
      root: options.runtimeRoot,
      containerId: containerId(options.spriteId),
      bundleDirectory: this.#bundleDirectory,
    });
    this.#launcher = createLauncher({
      runtime: options.runtime,
      runtimeRoot: options.runtimeRoot,
      containerId: containerId(options.spriteId),
      runDirectory: options.runDirectory,
      fifoDirectory: join(options.dotSpriteDirectory, fifoDirectoryName),
      insideDirectory: `/.sprite/${fifoDirectoryName}`,
      busyboxPath,
      hostIdBase: options.hostIdBase,
      user: spriteUser,
      boundingCapabilities: this.#privileges.capabilities,
      noNewPrivileges: this.#privileges.noNewPrivileges,
      resourceLimits: resourceLimits(openFilesLimits()),
      keeper: this.#keeper,
      log,
    });
    const killed = Promise.withResolvers<void>();
    this.killed = killed.promise;
    this.#onKilled = killed.resolve;
    this.died = new Promise((resolve) => {
      this.#onDied = resolve;
    });
  }

  prepare(): Promise<void> {
    this.#prepared ??= this.#prepare();
    return this.#prepared;
  }

  start(): Promise<void> {
    assert(this.#state === "new", "a sandbox starts once");
    this.#state = "starting";
    this.#started = this.#start();
    return this.#started;
  }

  async stop(): Promise<void> {
    // A step that goes on would bring up again what is taken down. Each of them has a deadline.
    await Promise.allSettled([this.#prepared, this.#started]);
    // A suspended process does not end when it is killed, with version 1 of cgroups.
    await this.resume().catch((error: unknown) => this.#log.warn({ err: error }, "resume"));
    await this.#takeDown();
  }

  async #start(): Promise<void> {
    const timings: Record<string, number> = {};
    const { network } = this.#options;
    try {
      await this.#timed(timings, "prepare", () => this.prepare());
      await this.#timed(timings, "rootfs", () => this.#rootfs.mount());
      const started = await this.#timed(timings, "runtime", () => this.#run());
      this.#watchOutput(started);
      await allDone([
        this.#timed(timings, "boot", () => this.#awaitReady(started)),
        this.#timed(timings, "network", () => connectNetwork(network, started.pid)),
        this.#timed(timings, "launcher", () => this.#launcher.start(started.pid)),
      ]);
      this.#state = "running";
      const { privileges = {} } = this.#options;
      this.#startedWith = privileges;
      this.#record.write(
        must(this.#first, "a container that is ready has a first process"),
        privileges,
      );
      this.#log.info({ timings }, "sandbox started");
    } catch (cause) {
      await this.#takeDown().catch((error: unknown) => {
        this.#log.error({ err: error }, "a sandbox that did not start leaves something behind");
      });
      if (cause instanceof SpriteError) throw cause;
      throw new SpriteError("start_failed", "the sprite's container does not start", { cause });
    }
  }

  adopt(records: readonly ProcessRecord[]): Promise<void> {
    assert(this.#state === "new", "a sandbox starts once");
    this.#state = "starting";
    this.#started = this.#adopt(records);
    return this.#started;
  }

  async #adopt(records: readonly ProcessRecord[]): Promise<void> {
    // First what there is, so that `stop` takes it down when it is not all.
    this.#lifeline = adoptLifeline(this.#keeper);
    const hasRoot = await this.#rootfs.adopt();
    const first = this.#record.read();
    if (first === null || !hasRoot) {
      throw new SpriteError("start_failed", "there is no whole container to be taken over");
    }
    this.#first = first;
    this.#startedWith = this.#record.readPrivileges();
    const watch = watchProcess(first);
    this.#watch = watch;
    void watch.ended.then(() => this.#onFirstEnded());
    // The agent before may have died while it slept.
    await this.resume();
    this.#launcher.adopt(first.pid, records);
    this.#state = "running";
  }

  adoptProcess(record: ProcessRecord): AdoptedProcess | null {
    return this.#launcher.adoptProcess(record);
  }

  async setName(name: string): Promise<void> {
    this.#assertRunning();
    const first = must(this.#first, "a running container has a first process");
    setNamespaceHostname(first, name);
    this.#lifeline?.say?.(name);
    if ((await this.#saysLine?.(namedLine)) === true) return;
    throw new SpriteError("start_failed", "the sprite's container does not take its name");
  }

  get network(): GuestNetwork | null {
    return this.#state === "running" && this.#first !== null ? new GuestNetwork(this.#first) : null;
  }

  async pause(): Promise<void> {
    this.#assertRunning();
    await freezeCgroup(this.#options.cgroupPath);
  }

  async resume(): Promise<void> {
    await thawCgroup(this.#options.cgroupPath);
  }

  processorTimeMs(): number | null {
    return processorTimeMs(this.#options.cgroupPath);
  }

  memoryBytes(): number | null {
    return workingSetBytes(this.#options.cgroupPath);
  }

  openRoot(): number {
    this.#assertRunning();
    const first = must(this.#first, "a running container has a first process");
    const nameOnly = 0o10000000;
    try {
      const root = openSync(`/proc/${first.pid}/root`, nameOnly | constants.O_DIRECTORY);
      // Had the number passed on to another process, this would be another root.
      if (isAlive(first)) return root;
      closeSync(root);
    } catch (cause) {
      throw new SpriteError("unavailable", "the sprite's container has ended", { cause });
    }
    throw new SpriteError("unavailable", "the sprite's container has ended");
  }

  isListening(port: number): boolean {
    return this.#launcher.isListening(port);
  }

  async showCheckpoint(options: { checkpointId: string; diskDirectory: string }): Promise<void> {
    await this.#rootfs.mountCheckpoint({
      target: this.#checkpointDirectory(options.checkpointId),
      diskDirectory: options.diskDirectory,
    });
  }

  async hideCheckpoint(checkpointId: string): Promise<void> {
    await this.#rootfs.unmountCheckpoint(this.#checkpointDirectory(checkpointId));
  }

  get privileges(): PrivilegesPolicy | null {
    return this.#startedWith;
  }

  async setLimits(limits: SpriteLimits): Promise<void> {
    if (this.#state !== "running") return;
    const usedBytes = memoryInUse(this.#options.cgroupPath) ?? 0;
    if (usedBytes > limits.memoryBytesMax) {
      const usedMb = Math.ceil(usedBytes / 2 ** 20);
      throw new SpriteError("conflict", `the sprite uses ${usedMb} MB of memory now`);
    }
    await this.#container.update(limitedResources({ limits, ...memoryAccounting() }));
  }

  async cutConnections(): Promise<void> {
    if (this.#state !== "running" || this.#first === null) return;
    await cutConnections(this.#options.network, this.#first.pid, this.#log);
  }

  async launch(command: Command, options: { stdin: boolean }): Promise<PipeProcess> {
    this.#assertRunning();
    return await this.#launcher.launch(command, options);
  }

  async launchTerminal(command: Command, size: TerminalSize): Promise<TerminalProcess> {
    this.#assertRunning();
    return await this.#launcher.launchTerminal(command, size);
  }

  #assertRunning(): void {
    if (this.#state === "running") return;
    throw new SpriteError("unavailable", "the sprite's container does not run");
  }

  #checkpointDirectory(checkpointId: string): string {
    assert(/^[\w-]+$/.test(checkpointId), "a checkpoint's id is a plain name");
    return join(this.#options.dotSpriteDirectory, "checkpoints", checkpointId);
  }

  async #prepare(): Promise<void> {
    this.#helper.start();
    await allDone([this.#prepareBundle(), this.#rootfs.prepare(), this.#launcher.prepare()]);
  }

  async #prepareBundle(): Promise<void> {
    const { dotSpriteDirectory, hostIdBase, name, network, limits, cgroupPath } = this.#options;
    const { spriteId, isFork, isSpare = false } = this.#options;
    await mkdir(this.#bundleDirectory, { recursive: true });
    await mkdir(this.#options.runtimeRoot, { recursive: true });
    // Whatever the server's umask is, the guest's users have to get through these.
    for (const path of [".", "bin", "checkpoints"].map((name) => join(dotSpriteDirectory, name))) {
      await mkdir(path, { recursive: true });
      await chmod(path, 0o755);
    }
    await assertPassable(this.#rootfs.directory);
    // A mount point for the host's own.
    await writeFile(join(dotSpriteDirectory, "bin", "busybox"), "", { flag: "a" });
    const config = ociConfig({
      ...{ spriteId, isFork, isSpare, hostname: name },
      nameserver: network.nameserver,
      rootDirectory: this.#rootfs.directory,
      dotSpriteDirectory,
      busyboxFile,
      hostIdBase,
      limits,
      ...memoryAccounting(),
      privileges: this.#privileges,
      openFiles: openFilesLimits(),
      cgroupPath,
      seccomp: seccompProfile(),
    });
    await writeFile(join(this.#bundleDirectory, "config.json"), JSON.stringify(config));
  }

  async #run(): Promise<StartedContainer> {
    const path = join(this.#options.runDirectory, "lifeline");
    if (this.#container.exists) await this.#container.delete();
    const lifeline = await createLifeline(path, this.#helper, this.#keeper);
    this.#lifeline = lifeline;
    try {
      return await this.#container.run({ stdin: lifeline.readEnd });
    } finally {
      lifeline.closeReadEnd();
    }
  }

  #watchOutput(started: StartedContainer): void {
    this.#first = identifyProcess(started.pid);
    void started.ended.then(() => this.#onFirstEnded());
  }

  #onFirstEnded(): void {
    if (this.#state === "stopping" || this.#state === "stopped") return;
    this.#onDied({ reason: "the container's first process ended" });
  }

  async #awaitReady(started: StartedContainer): Promise<void> {
    let ended = false;
    void started.ended.then(() => {
      ended = true;
    });
    const timeoutMs = bootMsMax + (this.#options.isFork ? renewalMsMax : 0);
    const saysLine = async (line: string): Promise<boolean> => {
      const isSaid = (): boolean => started.output().includes(line);
      await waitUntil(() => ended || isSaid(), { timeoutMs, intervalMs: 1 });
      return isSaid();
    };
    this.#saysLine = saysLine;
    if (!(await saysLine(readyLine))) {
      throw new Error("the container's first process is not ready");
    }
  }

  #takeDown(): Promise<void> {
    this.#takenDown ??= this.#takeDownOnce();
    return this.#takenDown;
  }

  /** Each step is tried whatever became of those before; the first error is told in the end. */
  async #takeDownOnce(): Promise<void> {
    this.#state = "stopping";
    this.#watch?.stop();
    this.#record.remove();
    const { network } = this.#options;
    const steps = [
      () => this.#launcher.stop(),
      () => this.#kill(),
      () => allDone([this.#container.delete(), disconnectNetwork(network, this.#log)]),
      () => this.#rootfs.unmount(),
      () => this.#forget(),
    ];
    const errors: unknown[] = [];
    for (const step of steps) await step().catch((error: unknown) => errors.push(error));
    this.#onKilled();
    this.#state = "stopped";
    if (errors.length > 0) throw errors[0];
  }

  async #forget(): Promise<void> {
    this.#lifeline?.close();
    await rm(this.#bundleDirectory, { recursive: true, force: true });
    if (this.#ownsHelper) await this.#helper.close();
  }

  /** With the first process, the kernel kills every other one of its process namespace. */
  async #kill(): Promise<void> {
    const first = this.#first;
    if (first === null) return;
    signalProcess(first, "SIGKILL");
    const isGone = (): boolean => !isAlive(first);
    // As it ends, the kernel kills the others; it waits for those that wait for the disk.
    await waitUntil(isGone, { timeoutMs: killPassedOnMs, intervalMs: 2 });
    this.#onKilled();
    const gone = await waitUntil(isGone, { timeoutMs: killMsMax, intervalMs: 2 });
    if (!gone) this.#log.error({ pid: first.pid }, "the container's first process does not end");
  }

  async #timed<T>(
    timings: Record<string, number>,
    step: string,
    work: () => Promise<T>,
  ): Promise<T> {
    const start = performance.now();
    try {
      return await work();
    } finally {
      timings[step] = Math.round((performance.now() - start) * 10) / 10;
    }
  }
}

/** Waits for all of them, also when one fails: what still goes on would race with the clearing up. */
async function allDone(works: ReadonlyArray<Promise<void>>): Promise<void> {
  for (const result of await Promise.allSettled(works)) {
    if (result.status === "rejected") throw result.reason;
  }
}

/**
 * The runtime looks the root directory up as the guest's root, who is a stranger to the machine's
 * directories.
 * @throws SpriteError start_failed which names the directory, where the runtime would only say
 * "permission denied"
 */
async function assertPassable(path: string): Promise<void> {
  for (let parent = dirname(path); parent !== dirname(parent); parent = dirname(parent)) {
    const { mode } = await stat(parent);
    if ((mode & 0o001) !== 0) continue;
    throw new SpriteError(
      "start_failed",
      `${parent} must be passable for all: chmod o+x ${parent}`,
    );
  }
}

function memoryAccounting(): { limitSwap: boolean; hasSoftLimit: boolean } {
  return { limitSwap: canLimitSwap(), hasSoftLimit: cgroupMode() !== "v2" };
}

/** Raising the limit beyond this process's own takes a capability that not every machine grants. */
function openFilesLimits(): { soft: number; hard: number } {
  const limits = readFileSync("/proc/self/limits", "utf8");
  const line = must(
    limits.split("\n").find((text) => text.startsWith("Max open files")),
    "the kernel lists the limit of open files",
  );
  const own = Number(line.trim().split(/\s+/)[4]);
  const hard = Number.isInteger(own) ? Math.min(own, openFilesHard) : openFilesHard;
  return { soft: Math.min(openFilesSoft, hard), hard };
}
