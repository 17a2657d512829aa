import assert from "node:assert/strict";
import { test } from "node:test";

import {
  parseServiceDefinition,
  parseServiceName,
  parseServiceSignal,
  serviceObject,
  type ServiceState,
} from "./service.ts";

const state: ServiceState = {
  status: "running",
  pid: 7,
  startedAtMs: 1_780_420_274_555,
  error: "",
  restartCount: 0,
  nextRestartAtMs: null,
  exitCode: null,
};

test("a definition is read with its defaults, and unknown fields are ignored", () => {
  const definition = parseServiceDefinition("web", { cmd: "x", args: null, needs: null, new: 1 });
  assert.deepEqual(definition, {
    ...{ name: "web", cmd: "x", args: [], env: {}, dir: null, needs: [], httpPort: null },
  });
});

test("contract 16.10: times have milliseconds or are null, and integers are integers", () => {
  const definition = parseServiceDefinition("web", { cmd: "x", http_port: 3000, dir: "app" });
  assert.deepEqual(serviceObject(definition, state), {
    name: "web",
    ...{ cmd: "x", args: [], env: {}, dir: "app", needs: [], http_port: 3000 },
    state: {
      ...{ name: "web", status: "running", pid: 7, started_at: "2026-06-02T17:11:14.555Z" },
      ...{ error: "", restart_count: 0, next_restart_at: null, exit_code: null },
    },
  });
});

test("what is no definition is refused by field", () => {
  const cases: [unknown, RegExp][] = [
    [null, /the body/],
    [[], /the body/],
    [{}, /cmd: missing/],
    [{ cmd: "" }, /cmd: missing/],
    [{ cmd: 7 }, /cmd/],
    [{ cmd: "a\0b" }, /cmd: holds NUL/],
    [{ cmd: "x", args: "y" }, /args/],
    [{ cmd: "x", args: [1] }, /args/],
    [{ cmd: "x", args: Array.from({ length: 257 }, () => "a") }, /args: more than 256/],
    [{ cmd: "x", env: ["A=1"] }, /env/],
    [{ cmd: "x", env: { "A=": "1" } }, /env/],
    [{ cmd: "x", env: { A: 1 } }, /env.A/],
    [{ cmd: "x", needs: ["../x"] }, /name/],
    [{ cmd: "x", http_port: 0 }, /http_port/],
    [{ cmd: "x", http_port: "80" }, /http_port/],
    [{ cmd: "x", http_port: 70_000 }, /http_port/],
    [{ cmd: "x", args: ["y".repeat(70_000)] }, /too large/],
  ];
  for (const [body, message] of cases) {
    assert.throws(() => parseServiceDefinition("web", body), { code: "invalid_request", message });
  }
});

test("names are plain", () => {
  for (const name of ["web", "a.b_c-1", "0", "x".repeat(64), "signal"]) parseServiceName(name);
  for (const name of ["", ".", "..", "-a", "a/b", "a b", "é", "x".repeat(65), null, "a\n"]) {
    assert.throws(() => parseServiceName(name), { code: "invalid_request" });
  }
});

test("a signal is read as clients write it", () => {
  const read = parseServiceSignal({ name: "web", signal: "term" });
  assert.deepEqual(read, { name: "web", signal: "SIGTERM" });
  for (const body of [{}, { name: "web" }, { name: "web", signal: "NOPE" }, { signal: "TERM" }]) {
    assert.throws(() => parseServiceSignal(body), { code: "invalid_request" });
  }
});
