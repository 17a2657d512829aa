import { spawnSync } from "node:child_process";

import { storeProgramTimeoutMs } from "../limits.ts";

export interface ProgramResult {
  isFound: boolean;
  stdout: string;
  /** Null: it exited with 0. */
  problem: string | null;
}

/** Runs a small program to its end, without a terminal. */
export function runProgram(program: string, words: readonly string[]): ProgramResult {
  const result = spawnSync(program, words, {
    stdio: ["ignore", "pipe", "pipe"],
    encoding: "utf8",
    timeout: storeProgramTimeoutMs,
  });
  const isFound =
    result.error === undefined || !("code" in result.error && result.error.code === "ENOENT");
  if (result.error !== undefined) return { isFound, stdout: "", problem: result.error.message };
  const said = result.stderr.trim().split("\n").at(-1) ?? "";
  const problem = result.status === 0 ? null : `${program}: ${said || `exit ${result.status}`}`;
  return { isFound, stdout: result.stdout, problem };
}
