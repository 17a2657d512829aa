/**
 * A container for tests of this room: the machine's own /usr, read-only, in namespaces of its own,
 * with a launcher.
 */
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { noKeeper } from "../../base/descriptor-keeper.ts";
import { must } from "../../base/assert.ts";
import { identifyProcess } from "../../base/process-identity.ts";
import { createLog, type Log, type LogLevel } from "../../base/log.ts";
import { runCommand } from "../../host/command.ts";
import { GuestNetwork } from "../guest-network.ts";
import { ociConfig } from "../oci-config.ts";
import { privilegesOf } from "../privileges.ts";
import { seccompProfile } from "../seccomp.ts";
import { type ContainerLauncher, createLauncher, type LauncherOptions } from "./launcher.ts";

export interface TestContainer extends AsyncDisposable {
  launcher: ContainerLauncher;
  launcherOptions: LauncherOptions;
  directory: string;
  log: Log;
  network: GuestNetwork;
  /** The host's id of its first process. */
  firstPid: number;
  /** Runs a program as the container's root; resolves with its output. */
  runAsRoot(argv: readonly string[]): Promise<string>;
}

const hostIdBase = 1_800_000;
const callTimeoutMs = 20_000;
let count = 0;

export async function startTestContainer(
  options: { logLevel?: LogLevel; pidsMax?: number } = {},
): Promise<TestContainer> {
  const log = createLog({ level: options.logLevel ?? "error", room: "test" });
  const directory = mkdtempSync(join(tmpdir(), "opensprites-processes-"));
  chmodSync(directory, 0o711);
  const id = `os-test-${process.pid}-${++count}`;
  const runtimeRoot = join(directory, "runtime");
  const bundle = join(directory, "bundle");
  const runDirectory = join(directory, "run");
  for (const path of [runtimeRoot, bundle, runDirectory]) mkdirSync(path);
  const launcherOptions: LauncherOptions = {
    runtime: "runc",
    runtimeRoot,
    containerId: id,
    runDirectory,
    fifoDirectory: join(directory, "sprite", "run"),
    insideDirectory: "/.sprite/run",
    busyboxPath: "/.sprite/bin/busybox",
    hostIdBase,
    user: { uid: 1000, gid: 1000, additionalGids: [27] },
    keeper: noKeeper,
    log,
  };
  makeRootfs(directory);
  const launcher = createLauncher(launcherOptions);
  await launcher.prepare();
  writeFileSync(
    join(bundle, "config.json"),
    JSON.stringify(configOf(directory, id, options.pidsMax ?? 2000)),
  );
  const call = async (...args: string[]) =>
    (await runCommand("runc", ["--root", runtimeRoot, ...args], { deadlineMs: callTimeoutMs }))
      .stdout;
  const stop = async () => {
    await launcher.stop();
    await call("delete", "--force", id).catch(() => "");
    rmSync(directory, { recursive: true, force: true });
  };
  let firstPid = 0;
  try {
    // The container keeps its creator's standard streams, which must not be our pipes.
    const create = ["--root", runtimeRoot, "create", "--bundle", bundle, id];
    const detached = 'exec runc "$@" </dev/null >/dev/null 2>&1';
    await runCommand("sh", ["-c", detached, "sh", ...create], { deadlineMs: callTimeoutMs });
    await call("start", id);
    const state = JSON.parse(await call("state", id)) as { pid: number };
    firstPid = state.pid;
    await launcher.start(firstPid);
  } catch (error) {
    await stop();
    throw error;
  }
  const runAsRoot = (argv: readonly string[]) => call("exec", "--user", "0:0", id, ...argv);
  const first = must(identifyProcess(firstPid), "a container that was started has a first process");
  const network = new GuestNetwork(first);
  const parts = { launcher, launcherOptions, directory, log, network, firstPid };
  return { ...parts, runAsRoot, [Symbol.asyncDispose]: stop };
}

function makeRootfs(directory: string): void {
  const root = join(directory, "rootfs");
  for (const path of ["usr", "etc", "proc", "dev", "sys", "run", "tmp", ".sprite", "home/sprite"]) {
    mkdirSync(join(root, path), { recursive: true });
  }
  for (const name of ["bin", "sbin", "lib", "lib64"]) symlinkSync(`usr/${name}`, join(root, name));
  writeFileSync(
    join(root, "etc/passwd"),
    "root:x:0:0::/root:/bin/bash\nsprite:x:1000:1000::/home/sprite:/bin/bash\n",
  );
  const owned: Array<readonly [string, number]> = [
    ["", 0],
    ["etc", 0],
    ["tmp", 1000],
    ["home/sprite", 1000],
  ];
  for (const [path, id] of owned) chownSync(join(root, path), hostIdBase + id, hostIdBase + id);
  mkdirSync(join(directory, "sprite/bin"), { recursive: true });
  writeFileSync(join(directory, "sprite/bin/busybox"), "");
}

function configOf(directory: string, id: string, pidsMax: number): object {
  const config = ociConfig({
    ...{ spriteId: "test", isFork: false, isSpare: false, hostname: "test" },
    nameserver: "127.0.0.1",
    rootDirectory: join(directory, "rootfs"),
    dotSpriteDirectory: join(directory, "sprite"),
    busyboxFile: "/usr/bin/busybox",
    hostIdBase,
    limits: { memoryBytesMax: 1024 ** 3, cpuCoresMax: 2, pidsMax },
    limitSwap: false,
    hasSoftLimit: true,
    openFiles: { soft: 4096, hard: 4096 },
    cgroupPath: id,
    seccomp: seccompProfile(),
    privileges: privilegesOf({}),
  });
  const usr = {
    destination: "/usr",
    type: "bind",
    source: "/usr",
    options: ["rbind", "ro", "rslave"],
  };
  return {
    ...config,
    // The first process only has to stay, and to reap what is left to it: it waits, since BusyBox's
    // shell cannot be made to ignore SIGCHLD.
    process: {
      ...config.process,
      args: ["/.sprite/bin/busybox", "sh", "-c", "/.sprite/bin/busybox sleep 3600 & wait $!"],
    },
    mounts: [...config.mounts, usr],
  };
}
