/**
 * Runs programs of the machine, each with a deadline that holds even when the program hangs in the
 * kernel.
 */
import { spawn } from "node:child_process";

import { commandOutputBytesMax, errorTextCharactersMax } from "./limits.ts";

export type HostErrorCode =
  | "not_found"
  | "exit_status"
  | "deadline_exceeded"
  | "aborted"
  | "output_too_large"
  | "system_call";

/** A privileged operation of the machine failed. */
export class HostError extends Error {
  override readonly name = "HostError";
  readonly code: HostErrorCode;
  /** The program and its arguments, or the system call. */
  readonly command: string;
  readonly exitCode: number | null;
  readonly stderr: string;
  /** The symbolic name of a system call's error, such as `EBUSY`. */
  readonly errno: string | null;

  constructor(
    code: HostErrorCode,
    message: string,
    details: {
      command: string;
      exitCode?: number | null;
      stderr?: string;
      errno?: string | null;
      cause?: unknown;
    },
  ) {
    super(message, details.cause === undefined ? {} : { cause: details.cause });
    this.code = code;
    this.command = details.command;
    this.exitCode = details.exitCode ?? null;
    this.stderr = details.stderr ?? "";
    this.errno = details.errno ?? null;
  }
}

export interface CommandOptions {
  deadlineMs: number;
  input?: string | Uint8Array;
  signal?: AbortSignal;
  /** The whole environment; without it the program gets only a PATH and the C locale. */
  environment?: Record<string, string>;
  directory?: string;
}

export interface CommandOutput {
  stdout: string;
  stderr: string;
}

/** What the machine's tools need, independent of how the server was started. */
export const plainEnvironment: Readonly<Record<string, string>> = {
  PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  LC_ALL: "C",
};

/**
 * Resolves with the output of a program that exits 0. Past the deadline the program is killed and
 * the promise rejects at once: a child that hangs in the kernel cannot be reaped, and is left
 * behind rather than waited for.
 * @throws HostError
 */
export function runCommand(
  file: string,
  args: readonly string[],
  options: CommandOptions,
): Promise<CommandOutput> {
  const command = [file, ...args].join(" ");
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      stdio: ["pipe", "pipe", "pipe"],
      env: options.environment ?? plainEnvironment,
      ...(options.directory === undefined ? {} : { cwd: options.directory }),
    });
    const stdout = collect(child.stdout, onOverflow);
    const stderr = collect(child.stderr, onOverflow);
    let settled = false;
    const timer = setTimeout(() => {
      abandon("deadline_exceeded", `${file} did not end within ${options.deadlineMs} ms`);
    }, options.deadlineMs);
    const onAbort = () => abandon("aborted", `${file} was given up`);
    options.signal?.addEventListener("abort", onAbort, { once: true });

    child.on("error", (cause: NodeJS.ErrnoException) => {
      const code = cause.code === "ENOENT" ? "not_found" : "system_call";
      fail(code, `cannot run ${file}`, { cause, errno: cause.code ?? null });
    });
    child.on("close", (exitCode, signalName) => {
      if (exitCode === 0) {
        if (settle()) resolve({ stdout: stdout(), stderr: stderr() });
        return;
      }
      const how = exitCode === null ? `was ended by ${signalName}` : `exited with ${exitCode}`;
      const said = stderr().trim().slice(-errorTextCharactersMax);
      fail("exit_status", `${file} ${how}${said === "" ? "" : `: ${said}`}`, { exitCode });
    });
    // A program that ends before it has read its input closes the pipe under us; its exit status
    // tells the rest.
    child.stdin.on("error", () => {});
    child.stdin.end(options.input ?? "");
    if (options.signal?.aborted === true) onAbort();

    function settle(): boolean {
      if (settled) return false;
      settled = true;
      clearTimeout(timer);
      options.signal?.removeEventListener("abort", onAbort);
      return true;
    }

    function fail(
      code: HostErrorCode,
      message: string,
      details: { exitCode?: number | null; cause?: unknown; errno?: string | null },
    ): void {
      if (!settle()) return;
      reject(new HostError(code, message, { command, stderr: stderr(), ...details }));
    }

    function abandon(code: HostErrorCode, message: string): void {
      child.kill("SIGKILL");
      child.stdin.destroy();
      child.stdout.destroy();
      child.stderr.destroy();
      child.unref();
      fail(code, message, {});
    }

    function onOverflow(): void {
      abandon("output_too_large", `${file} wrote more than ${commandOutputBytesMax} bytes`);
    }
  });
}

/** Gathers a stream; the result is read once it has ended. */
function collect(stream: NodeJS.ReadableStream, onOverflow: () => void): () => string {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  stream.on("error", () => {});
  stream.on("data", (chunk: Buffer) => {
    sizeBytes += chunk.byteLength;
    if (sizeBytes > commandOutputBytesMax) onOverflow();
    else chunks.push(chunk);
  });
  return () => Buffer.concat(chunks).toString("utf8");
}
