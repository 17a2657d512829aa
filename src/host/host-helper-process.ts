/**
 * The host helper: a child process for every system call that may touch the guest's disk or change
 * mounts, so that the process which serves the disk can never wait for itself. Reads requests from
 * standard input, one JSON object a line (helper-protocol.ts), and ends when it closes.
 */
import { writeSync } from "node:fs";

import { readJsonLines } from "../base/json-lines.ts";
import { keepCompiledCode } from "../base/node-process.ts";
import { HelperOperations } from "./helper-operations.ts";
import type { HelperReply, HelperRequest } from "./helper-protocol.ts";
import { helperLineBytesMax } from "./limits.ts";
import { keepCapabilities, SystemCallError } from "./system-calls.ts";

keepCapabilities();
keepCompiledCode();
const operations = new HelperOperations();
let last: Promise<void> = Promise.resolve();

readJsonLines(process.stdin, {
  lineBytesMax: helperLineBytesMax,
  onValue: (value) => {
    // The other end is our own facade, which sends nothing else.
    const request = value as HelperRequest;
    // A thaw must not stand in line behind what waits for the frozen file system.
    if (request.operation.type === "thaw") void answer(request);
    else last = last.then(() => answer(request));
  },
  onOther: (line) => {
    throw new Error(`the helper was sent a line that is no request: ${line.slice(0, 100)}`);
  },
});
process.stdin.on("close", () => {
  void operations.close().finally(() => process.exit(0));
});

async function answer(request: HelperRequest): Promise<void> {
  reply(await perform(request));
}

async function perform({ id, operation }: HelperRequest): Promise<HelperReply> {
  try {
    return { id, ok: true, value: await operations.run(operation) };
  } catch (error) {
    const call = error instanceof SystemCallError ? error.call : operation.type;
    return { id, ok: false, call, errno: errorName(error), message: String(error) };
  }
}

function errorName(error: unknown): string | null {
  if (error instanceof SystemCallError) return error.errno;
  const code = (error as NodeJS.ErrnoException).code;
  return typeof code === "string" ? code : null;
}

function reply(message: HelperReply): void {
  try {
    writeSync(1, `${JSON.stringify(message)}\n`);
  } catch {
    // Nobody reads any more: standard input closes as well and ends this process.
  }
}
