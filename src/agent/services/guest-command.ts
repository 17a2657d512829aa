/**
 * Short programs that the agent has run inside, by busybox and as the sprite's user. All that touches
 * the sprite's disk for its services happens in here: a process that serves a disk must not wait for it, and
 * what a guest has made of its files can hurt nobody but itself.
 */
import type { Readable } from "node:stream";

import { SpriteError } from "../../contract/errors.ts";
import { withDeadline } from "../../base/wait.ts";
import type { Command, ExitStatus, Launcher, PipeProcess } from "../../sandbox/process.ts";
import { drainOutput } from "../sessions/output-drain.ts";
import { guestCommandMsMax, guestErrorBytesMax } from "./limits.ts";

const busyboxPath = "/.sprite/bin/busybox";

/** A shell script of ours as a command; its arguments are `$1` and on. */
export function guestScript(script: string, args: readonly string[]): Command {
  return {
    argv: ["busybox", "sh", "-c", script, "sh", ...args],
    path: busyboxPath,
    environment: [["PATH", "/usr/bin:/bin"]],
    directory: "/",
  };
}

export interface GuestResult {
  status: ExitStatus;
  stdout: Buffer;
  stderr: string;
}

/**
 * Runs one to its end. @throws SpriteError deadline_exceeded, payload_too_large, unavailable
 */
export async function runInGuest(
  launcher: Pick<Launcher, "launch">,
  command: Command,
  options: { input?: string; outputBytesMax: number },
): Promise<GuestResult> {
  const process = await launcher.launch(command, { stdin: options.input !== undefined });
  process.stdin?.end(options.input ?? "");
  let lastOutputMs = 0;
  process.stdout.on("data", () => (lastOutputMs = performance.now()));
  const result = Promise.all([
    collect(process.stdout, options.outputBytesMax, () => process.kill("SIGKILL")),
    collect(process.stderr, guestErrorBytesMax, () => undefined),
    process.exited.then(async (exit) => {
      // A pipe that somebody else holds would never end.
      const sources = [process.stdout, process.stderr];
      await drainOutput({ sources, isHeldBack: () => false, lastOutputMs: () => lastOutputMs });
      return exit;
    }),
  ]);
  const [stdout, stderr, status] = await withDeadline(result, {
    timeoutMs: guestCommandMsMax,
    onTimeout: () => {
      // It may hang in the kernel, where no signal reaches it.
      process.kill("SIGKILL");
      closeOutput(process);
      return new SpriteError("deadline_exceeded", "the sprite's disk does not answer");
    },
  });
  if (stdout === null) {
    throw new SpriteError("payload_too_large", "a file of the sprite's services is too large");
  }
  return { status, stdout, stderr: (stderr ?? Buffer.alloc(0)).toString("utf8").trim() };
}

function closeOutput({ stdout, stderr }: PipeProcess): void {
  stdout.destroy();
  stderr.destroy();
}

/** Null when there was more than may be. What follows is read and dropped, so that its writer can end. */
function collect(
  source: Readable,
  bytesMax: number,
  onTooMuch: () => void,
): Promise<Buffer | null> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  return new Promise((resolve) => {
    source.on("data", (chunk: Buffer) => {
      sizeBytes += chunk.length;
      if (sizeBytes <= bytesMax) chunks.push(chunk);
      else onTooMuch();
    });
    source.once("close", () => resolve(sizeBytes > bytesMax ? null : Buffer.concat(chunks)));
  });
}
