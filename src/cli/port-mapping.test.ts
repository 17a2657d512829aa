import assert from "node:assert/strict";
import { test } from "node:test";
import { CliError } from "./errors.ts";
import { parseForward, parseStdioTarget } from "./port-mapping.ts";

test("ports to forward", () => {
  const of = (localPort: number, host: string, port: number) => ({
    localPort,
    target: { host, port },
  });
  assert.deepEqual(parseForward("8080"), of(8080, "localhost", 8080));
  assert.deepEqual(parseForward("15432:5432"), of(15432, "localhost", 5432));
  assert.deepEqual(parseForward("0:80"), of(0, "localhost", 80));
  assert.deepEqual(parseForward("1:db.internal:2"), of(1, "db.internal", 2));
  assert.deepEqual(parseForward("1:[::1]:2"), of(1, "::1", 2));
  for (const wrong of [
    "",
    "0",
    "a",
    "70000",
    "1:0",
    "1:70000",
    "99999:1",
    "db:1",
    "1:2:3:4",
    "-1",
    "1 2",
  ]) {
    assert.throws(() => parseForward(wrong), CliError, wrong);
  }
});

test("the one target of -W", () => {
  assert.deepEqual(parseStdioTarget(":22"), { host: "localhost", port: 22 });
  assert.deepEqual(parseStdioTarget("22"), { host: "localhost", port: 22 });
  assert.deepEqual(parseStdioTarget("db:5432"), { host: "db", port: 5432 });
  assert.deepEqual(parseStdioTarget("[::1]:80"), { host: "::1", port: 80 });
  for (const wrong of ["", ":", "db", "db:", "::1:80", "a b:1", ":0", ":70000"]) {
    assert.throws(() => parseStdioTarget(wrong), CliError, wrong);
  }
});
