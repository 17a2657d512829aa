import { execFile } from "node:child_process";
import { access, readFile } from "node:fs/promises";

const probeTimeoutMs = 5_000;

export interface ProbeResult {
  works: boolean;
  output: string;
}

/** Runs a command that changes nothing, and says whether it worked. */
export function probe(command: readonly string[], input = ""): Promise<ProbeResult> {
  const [file = "", ...args] = command;
  return new Promise((resolve) => {
    const options = { timeout: probeTimeoutMs, env: { ...process.env, LC_ALL: "C.UTF-8" } };
    const child = execFile(file, args, options, (error, stdout, stderr) => {
      resolve({ works: error === null, output: (stdout + stderr).trim() });
    });
    // A command that does not read its input ends first; that is no failure.
    child.stdin?.on("error", () => {});
    child.stdin?.end(input);
  });
}

export async function readText(path: string): Promise<string | null> {
  return await readFile(path, "utf8").catch(() => null);
}

export async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
