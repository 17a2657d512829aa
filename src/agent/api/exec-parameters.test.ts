import assert from "node:assert/strict";
import test from "node:test";

import { attachTarget, parseHttpCommand, parseOpenSession } from "./exec-parameters.ts";
import { Query } from "./query.ts";

function open(text: string, sprite: Record<string, string> = {}) {
  return parseOpenSession(Query.parse(text), sprite);
}

test("a command's words stay as they are, in their order", () => {
  const { command } = open("cmd=sh&cmd=-c&cmd=echo+a%20+b%26&path=sh");
  assert.deepEqual(command.argv, ["sh", "-c", "echo a  b&"]);
  assert.equal(command.path, "sh");
});

test("what is not given has its default", () => {
  const pipe = open("cmd=ls");
  assert.equal(pipe.command.path, "ls");
  assert.equal(pipe.command.directory, "/home/sprite");
  assert.equal(pipe.terminal, null);
  assert.equal(pipe.stdin, false);
  assert.equal(pipe.runAfterDisconnectMs, 10_000);
  const terminal = open("tty=true");
  assert.deepEqual(terminal.command.argv, ["bash"]);
  assert.deepEqual(terminal.terminal, { columns: 80, rows: 24 });
  assert.equal(terminal.stdin, true);
  assert.equal(terminal.runAfterDisconnectMs, null);
});

test("parameters that are given count", () => {
  const session = open(
    "cmd=x&tty=1&rows=10&cols=0&stdin=false&dir=/tmp&max_run_after_disconnect=1m",
  );
  assert.deepEqual(session.terminal, { columns: 80, rows: 10 });
  assert.equal(session.stdin, false);
  assert.equal(session.command.directory, "/tmp");
  assert.equal(session.runAfterDisconnectMs, 60_000);
  assert.equal(open("cmd=x&detachable=true").runAfterDisconnectMs, null);
  assert.equal(open("cmd=x&max_run_after_disconnect=0").runAfterDisconnectMs, null);
  assert.equal(open("cmd=x&dir=work").command.directory, "/home/sprite/work");
});

test("the environment is the basis, then the sprite's, then the request's", () => {
  const { command } = open("cmd=x&env=A=1&env=B=x=y&env=C=", { A: "0", LANG: "de" });
  const environment = new Map(command.environment);
  assert.equal(environment.get("A"), "1");
  assert.equal(environment.get("B"), "x=y");
  assert.equal(environment.get("C"), "");
  assert.equal(environment.get("LANG"), "de");
  assert.equal(environment.get("HOME"), "/home/sprite");
  assert.match(environment.get("PATH") ?? "", /\/usr\/bin.*\/\.sprite\/bin/);
  assert.equal(environment.get("TERM"), undefined);
  assert.equal(new Map(open("tty=true").command.environment).get("TERM"), "xterm-256color");
});

test("malformed parameters are refused", () => {
  for (const text of [
    "cmd=%",
    "cmd=%ff",
    "cmd=a%00b",
    "cmd=x&env=novalue",
    "cmd=x&env==x",
    "tty=true&rows=-1",
    "tty=true&cols=abc",
    "tty=true&cols=99999999",
    "cmd=x&max_run_after_disconnect=soon",
  ]) {
    assert.throws(() => open(text), { code: "invalid_request" }, text);
  }
  assert.throws(() => Query.parse("&a".repeat(20_001)), { code: "invalid_request" });
});

test("either name of a session asks to attach", () => {
  assert.equal(attachTarget(Query.parse("id=12&cmd=x")), "12");
  assert.equal(attachTarget(Query.parse("session_id=13&path=x")), "13");
  assert.equal(attachTarget(Query.parse("cmd=x&id=")), null);
});

test("HTTP exec needs a command and has no terminal", () => {
  assert.throws(() => parseHttpCommand(Query.parse("path=ls"), {}), { code: "invalid_request" });
  const session = parseHttpCommand(Query.parse("cmd=ls&tty=true&stdin=true"), {});
  assert.equal(session.terminal, null);
  assert.equal(session.stdin, true);
});
