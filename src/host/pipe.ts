/** An anonymous pipe, which Node gives only to child processes. */
import { createRequire } from "node:module";

import type Koffi from "koffi";
import { HostError } from "./command.ts";

const load = createRequire(import.meta.url);

type PipeCall = (ends: Int32Array, flags: number) => unknown;
let pipeCall: PipeCall | null = null;

/** Neither end reaches a child that is not handed it. @throws HostError: no descriptors are left */
export function openPipe(): { readEnd: number; writeEnd: number } {
  if (pipeCall === null) {
    // Loaded at the first use: the library costs its process some megabytes.
    const { load: loadLibrary } = load("koffi") as typeof Koffi;
    pipeCall = loadLibrary("libc.so.6").func("int pipe2(int *, int)") as PipeCall;
  }
  const ends = new Int32Array(2);
  const closeOnExec = 0o2000000;
  if (Number(pipeCall(ends, closeOnExec)) !== 0) {
    throw new HostError("exit_status", "cannot make a pipe", { command: "pipe2" });
  }
  const [readEnd = -1, writeEnd = -1] = ends;
  return { readEnd, writeEnd };
}
