import assert from "node:assert/strict";
import test from "node:test";

import {
  encodeExitFrame,
  encodeExitMessage,
  encodeOutputFrame,
  execStream,
  isLoneStdinEnd,
  parseClientControl,
  parsePipeInput,
} from "./exec-frames.ts";

test("an output frame is the stream's id and the bytes", () => {
  assert.deepEqual(
    encodeOutputFrame(execStream.stdout, Buffer.from("out\n")),
    Buffer.from("\x01out\n"),
  );
  assert.deepEqual(encodeOutputFrame(execStream.stderr, Buffer.alloc(0)), Buffer.from("\x02"));
});

test("an exit is one byte in binary, and both keys in text", () => {
  assert.deepEqual(encodeExitFrame(143), Buffer.from([3, 143]));
  assert.deepEqual(JSON.parse(encodeExitMessage(7)), { type: "exit", exit_code: 7, code: 7 });
});

test("a client's binary frames are input, its end, or nothing", () => {
  assert.deepEqual(parsePipeInput(Buffer.from("\0hi")), { type: "data", bytes: Buffer.from("hi") });
  assert.deepEqual(parsePipeInput(Buffer.from([0])), { type: "data", bytes: Buffer.alloc(0) });
  assert.deepEqual(parsePipeInput(Buffer.from([4])), { type: "end" });
  for (const bytes of [[], [1, 2], [9], [0x7b, 0x7d]]) {
    assert.deepEqual(parsePipeInput(Buffer.from(bytes)), { type: "ignored" });
  }
  assert.equal(isLoneStdinEnd(Buffer.from([4])), true);
  assert.equal(isLoneStdinEnd(Buffer.from([4, 4])), false);
});

test("resize and signal messages are understood, anything else is not", () => {
  assert.deepEqual(parseClientControl('{"type":"resize","cols":120,"rows":40}'), {
    type: "resize",
    columns: 120,
    rows: 40,
  });
  assert.deepEqual(parseClientControl('{"type":"signal","signal":"TERM"}'), {
    type: "signal",
    signal: "TERM",
  });
  const others = [
    "",
    "hello",
    "null",
    "[]",
    "7",
    '{"type":"resize","cols":0,"rows":24}',
    '{"type":"resize","cols":1e9,"rows":24}',
    '{"type":"resize","cols":"x","rows":24}',
    '{"type":"resize"}',
    '{"type":"signal"}',
    '{"type":"release"}',
  ];
  for (const text of others) assert.equal(parseClientControl(text), null, text);
});
