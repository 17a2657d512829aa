import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { errorCode } from "../base/error-code.ts";
import { openBits, openInRoot } from "./file-calls.ts";

/** Looking up `..` while anything of the machine is renamed: the kernel cannot tell whether it stays within the root. */
test("a lookup that a rename was in the way of says EAGAIN, which Node calls so too", () => {
  const directory = mkdtempSync(join(tmpdir(), "file-calls-"));
  mkdirSync(join(directory, "a"));
  writeFileSync(join(directory, "file"), "");
  const renamer = spawn(process.execPath, [
    "-e",
    `const { renameSync } = require("node:fs");
     process.chdir(${JSON.stringify(directory)});
     process.stdin.on("close", () => process.exit(0)).resume();
     setInterval(() => { for (let n = 0; n < 2000; n++) { renameSync("a", "b"); renameSync("b", "a"); } });`,
  ]);
  const root = openSync(directory, openBits.path);
  const path = `${"./../".repeat(200)}file`;
  const refusals = new Set<string>();
  const endMs = performance.now() + 5_000;
  try {
    while (performance.now() < endMs && refusals.size === 0) {
      try {
        closeSync(openInRoot(root, path, openBits.path));
      } catch (error) {
        refusals.add(errorCode(error) ?? "");
      }
    }
  } finally {
    renamer.kill("SIGKILL");
    closeSync(root);
    rmSync(directory, { recursive: true, force: true });
  }
  // A machine that never runs both at the same time sees none.
  assert.ok(refusals.size === 0 || refusals.has("EAGAIN"), [...refusals].join(", "));
});
