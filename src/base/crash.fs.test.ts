import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";

const program = `
import { watchForCrash } from "${new URL("crash.ts", import.meta.url).href}";
import { createLog } from "${new URL("log.ts", import.meta.url).href}";
watchForCrash(createLog({ level: "info", room: "test" }));
Promise.reject(new Error("nobody caught this"));
`;

test("what nobody caught ends the process with a line in its log", () => {
  const args = ["--input-type=module-typescript", "--eval", program];
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  assert.equal(status, 70, stderr);
  const line = JSON.parse(stderr.trim()) as {
    level: number;
    msg: string;
    err: { message: string };
  };
  assert.equal(line.level, 60);
  assert.equal(line.err.message, "nobody caught this");
});
