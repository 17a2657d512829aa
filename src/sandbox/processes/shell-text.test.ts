import assert from "node:assert/strict";
import test from "node:test";

import type { Command } from "../process.ts";
import { executableCandidates, pipeStartFile, quoteForShell } from "./shell-text.ts";

function commandOf(parts: Partial<Command>): Command {
  return {
    argv: ["ls"],
    path: "ls",
    environment: [["PATH", "/a:/b/::rel"]],
    directory: "/",
    ...parts,
  };
}

test("a quote inside of quotes is closed, escaped and opened again", () => {
  assert.equal(quoteForShell("it's"), "'it'\\''s'");
});

test("an executable is looked for along the command's own PATH, the last one given", () => {
  const command = commandOf({
    environment: [
      ["PATH", "/x"],
      ["PATH", "/a:/b/::rel"],
    ],
  });
  assert.deepEqual(executableCandidates(command), ["/a/ls", "/b/ls", "./ls", "rel/ls"]);
});

test("a path with a slash is taken as it is, and never as an option", () => {
  assert.deepEqual(executableCandidates(commandOf({ path: "./run" })), ["./run"]);
  assert.deepEqual(executableCandidates(commandOf({ path: "-x/run" })), ["./-x/run"]);
  assert.deepEqual(executableCandidates(commandOf({ path: "" })), []);
});

test("variables that the shell would act on, or cannot hold, go through env", () => {
  for (const name of ["IFS", "PWD", "RANDOM", "A-B", "1A", "sprite_run", "BASH_FUNC_x%%"]) {
    const text = pipeStartFile(commandOf({ environment: [[name, "v"]] }));
    assert.match(text, /" env -i /, name);
    assert.doesNotMatch(text, /export/, name);
  }
  assert.match(pipeStartFile(commandOf({ environment: [["A_1", "v"]] })), /export A_1='v'/);
});

test("NUL and impossible variable names are refused", () => {
  for (const bad of [
    commandOf({ argv: ["a\0b"] }),
    commandOf({ path: "a\0" }),
    commandOf({ directory: "/\0" }),
    commandOf({ environment: [["A", "\0"]] }),
    commandOf({ environment: [["", "x"]] }),
    commandOf({ environment: [["A=B", "x"]] }),
  ]) {
    assert.throws(() => pipeStartFile(bad), { code: "invalid_request" });
  }
});
