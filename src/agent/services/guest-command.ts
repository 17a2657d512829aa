/**
 * Short programs that the agent has run inside, by busybox and as the sprite's user. All that touches
 * the sprite's disk for its services happens in here: a process that serves a disk must not wait for it, and
 * what a guest has made of its files can hurt nobody but itself.
 */
import type { Readable } from "node:stream";

import { SpriteError } from "../../contract/errors.ts";
import type { Command, ExitStatus, Launcher } from "../../sandbox/process.ts";
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
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    process.kill("SIGKILL");
  }, guestCommandMsMax);
  try {
    process.stdin?.end(options.input ?? "");
    const [stdout, stderr, status] = await Promise.all([
      collect(process.stdout, options.outputBytesMax, () => process.kill("SIGKILL")),
      collect(process.stderr, guestErrorBytesMax, () => undefined),
      process.exited.then((exit) => {
        // A pipe that somebody else holds would never end.
        setTimeout(() => [process.stdout, process.stderr].map((pipe) => pipe.destroy()), 200);
        return exit;
      }),
    ]);
    if (isLate) throw new SpriteError("deadline_exceeded", "the sprite's disk does not answer");
    if (stdout === null) {
      throw new SpriteError("payload_too_large", "a file of the sprite's services is too large");
    }
    return { status, stdout, stderr: (stderr ?? Buffer.alloc(0)).toString("utf8").trim() };
  } finally {
    clearTimeout(timer);
  }
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
