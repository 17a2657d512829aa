/**
 * Mounting without a helper of our own: `mount` inherits the /dev/fuse descriptor as its fd 3, and
 * the kernel resolves it there (storage.md 5.2). Nothing here touches the mounted directory: its
 * server is this very process.
 */
import { spawn } from "node:child_process";
import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { SpriteError } from "../../contract/errors.ts";
import { dataSizeBytesMax, mountTimeoutMs, unmountBusyMsMax, unmountTimeoutMs } from "./limits.ts";
import { encodeResend } from "./protocol.ts";

export interface FuseMount {
  directory: string;
  /** Number of the connection below /sys/fs/fuse/connections. */
  connection: number;
}

export function openFuseDevice(): number {
  try {
    return openSync("/dev/fuse", "r+");
  } catch (error) {
    throw new SpriteError("storage_failure", "open /dev/fuse", { cause: error });
  }
}

export interface FuseMountOptions {
  /** Of /dev/fuse, open in this process. */
  descriptor: number;
  directory: string;
  /**
   * The descriptor was mounted on the directory before, and whoever served it has died: nothing is
   * mounted, and the requests that the dead server took without answering are asked for again.
   */
  alreadyMounted?: boolean;
}

/**
 * Mounts the file system that is served on the descriptor, or takes a mounted one over. A server
 * must be reading it soon, and none may be reading it yet.
 */
export async function mountFuse(options: FuseMountOptions): Promise<FuseMount> {
  const { descriptor, directory } = options;
  if (options.alreadyMounted === true) {
    const connection = findConnection(directory);
    askAgain(descriptor);
    return { directory, connection };
  }
  const fields = `fd=3,rootmode=40000,user_id=0,group_id=0,max_read=${dataSizeBytesMax}`;
  const command = ["mount", "-i", "-t", "fuse", "-o", fields, "opensprites", directory];
  const result = await run(command, { descriptor, timeoutMs: mountTimeoutMs });
  if (result.code !== 0) {
    throw new SpriteError("storage_failure", `mount FUSE on ${directory}: ${result.message}`);
  }
  return { directory, connection: findConnection(directory) };
}

/**
 * Puts the requests that a server took and did not answer back in front of the kernel's queue
 * (since Linux 6.9). Doing one of them twice is harmless: whoever asked has seen no answer yet.
 */
function askAgain(descriptor: number): void {
  try {
    writeSync(descriptor, encodeResend());
  } catch (error) {
    throw new SpriteError("storage_failure", "ask /dev/fuse for unanswered requests again", {
      cause: error,
    });
  }
}

/**
 * Unmounts. A file system that stays busy, or whose server does not answer, is aborted and
 * detached: whoever still uses it gets errors instead of waiting for ever.
 */
export async function unmountFuse(mount: FuseMount): Promise<void> {
  const deadline = performance.now() + unmountBusyMsMax;
  for (;;) {
    const result = await run(["umount", mount.directory], { timeoutMs: unmountTimeoutMs });
    if (result.code === 0 || /not mounted|no mount point/.test(result.message)) return;
    const isBusy = /busy/.test(result.message);
    if (!isBusy || performance.now() > deadline) break;
    await delay(20);
  }
  abortConnection(mount.connection);
  const result = await run(["umount", "-l", mount.directory], { timeoutMs: unmountTimeoutMs });
  if (result.code === 0 || /not mounted|no mount point/.test(result.message)) return;
  throw new SpriteError("storage_failure", `unmount ${mount.directory}: ${result.message}`);
}

/** Ends a connection: every request on it fails from now on. */
export function abortConnection(connection: number): void {
  try {
    writeFileSync(`/sys/fs/fuse/connections/${connection}/abort`, "1");
  } catch {
    // The connection is gone already, or fusectl is not mounted; closing the descriptor then has
    // the same effect.
  }
}

/** Closes the descriptor; one that a thread still reads is freed when that read ends. */
export function closeFuseDevice(descriptor: number): void {
  closeSync(descriptor);
}

/** The minor device number of the mount, from the kernel's list, which asks no server. */
function findConnection(directory: string): number {
  const escaped = directory.replaceAll(/[ \t\n\\]/g, (char) => {
    return `\\${char.charCodeAt(0).toString(8).padStart(3, "0")}`;
  });
  const line = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .findLast((candidate) => candidate.split(" ")[4] === escaped);
  const minor = line?.split(" ")[2]?.split(":")[1];
  if (minor === undefined) {
    throw new SpriteError("storage_failure", `${directory} is not in the list of mounts`);
  }
  return Number(minor);
}

interface RunResult {
  code: number;
  message: string;
}

function run(
  command: readonly string[],
  options: { descriptor?: number; timeoutMs: number },
): Promise<RunResult> {
  return new Promise((resolve) => {
    const [file = "", ...args] = command;
    const extra = options.descriptor === undefined ? [] : [options.descriptor];
    const child = spawn(file, args, { stdio: ["ignore", "ignore", "pipe", ...extra] });
    let message = "";
    child.stderr?.on("data", (bytes: Buffer) => (message += bytes.toString()));
    // A killed child that waits for a stuck file system does not end, so the time-out does not wait for it.
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      child.unref();
      resolve({ code: -1, message: `no answer within ${options.timeoutMs} ms` });
    }, options.timeoutMs);
    child.on("error", (error) => {
      clearTimeout(timer);
      resolve({ code: -1, message: error.message });
    });
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve({ code: code ?? -1, message: message.trim() });
    });
  });
}
