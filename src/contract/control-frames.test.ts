import assert from "node:assert/strict";
import test from "node:test";

import {
  encodeOpComplete,
  encodeOpError,
  parseControlText,
  sniffSessionControl,
} from "./control-frames.ts";

test("an operation begins with an envelope", () => {
  assert.deepEqual(
    parseControlText('control:{"type":"op.start","op":"exec","args":{"cmd":["cat"]}}'),
    { kind: "start", op: "exec", args: { cmd: ["cat"] } },
  );
  assert.deepEqual(parseControlText('control:{"type":"op.start","op":"exec"}'), {
    ...{ kind: "start", op: "exec", args: {} },
  });
});

test("an operation that says none is told apart from what is nothing at all", () => {
  for (const text of [
    "control:",
    "control:{",
    "control:[]",
    'control:{"type":"op.start"}',
    'control:{"type":"op.start","op":"exec","args":[]}',
    `control:${" ".repeat(1024 * 1024)}`,
  ]) {
    assert.equal(parseControlText(text)?.kind, "malformed", text.slice(0, 80));
  }
  for (const text of [
    "",
    "x",
    "7",
    "[]",
    "{}",
    '{"type":"keepalive"}',
    'control:{"type":"pong"}',
  ]) {
    assert.equal(parseControlText(text), null, text);
  }
});

test("Go's messages come without the prefix", () => {
  assert.deepEqual(parseControlText('{"type":"release"}'), { kind: "release" });
  assert.deepEqual(
    parseControlText('{"type":"op.start","op":"fs.read","args":"path=%2Fa&workingDir=%2F"}'),
    { kind: "file", op: "fs.read", args: "path=%2Fa&workingDir=%2F" },
  );
  const start = '{"type":"start","operation":"proxy","params":{"host":"h","port":1}}';
  assert.deepEqual(parseControlText(start), { kind: "tunnel", target: '{"host":"h","port":1}' });
});

test("contract 15.17: resize and signal are understood as text, and as JavaScript sends them", () => {
  const resize = '{"type":"resize","cols":80,"rows":24}';
  const control = { type: "resize", columns: 80, rows: 24 };
  assert.deepEqual(parseControlText(resize), { kind: "session", control });
  assert.deepEqual(sniffSessionControl(Buffer.from(resize)), control);
  const signal = Buffer.from('{"type":"signal","signal":"SIGKILL"}');
  assert.deepEqual(sniffSessionControl(signal), { type: "signal", signal: "SIGKILL" });
  for (const input of ["{", '{"type":"resize"', '{"type":"other"}', "", '{"type":"resize"}{']) {
    assert.equal(sniffSessionControl(Buffer.from(input)), null, input);
  }
});

test("the exit code is in every completion", () => {
  assert.equal(encodeOpComplete(0), 'control:{"type":"op.complete","args":{"exitCode":0}}');
  assert.equal(encodeOpError("no"), 'control:{"type":"op.error","args":{"error":"no"}}');
});
