import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { mock, test } from "node:test";

import { startProgress } from "./progress.ts";

function fakeTerminal(isTTY: boolean): { stream: NodeJS.WriteStream; text: () => string } {
  const stream = new PassThrough() as unknown as NodeJS.WriteStream;
  stream.isTTY = isTTY;
  return { stream, text: () => (stream.read() as Buffer | null)?.toString() ?? "" };
}

test("a pipe gets plain lines", () => {
  const { stream, text } = fakeTerminal(false);
  const progress = startProgress(stream, "images: ");
  progress.info("one");
  progress.info("two");
  progress.end();
  assert.equal(text(), "images: one\nimages: two\n");
});

test("a terminal sees the seconds of the running step", () => {
  mock.timers.enable({ apis: ["setInterval"] });
  let nowMs = 0;
  mock.method(performance, "now", () => nowMs);
  try {
    const { stream, text } = fakeTerminal(true);
    const progress = startProgress(stream, "");
    progress.info("installing");
    nowMs = 3_000;
    mock.timers.tick(1_000);
    assert.match(text(), /\r\x1b\[Kinstalling 3 s$/);
    progress.end();
    assert.ok(text().endsWith("\n"));
  } finally {
    mock.restoreAll();
    mock.timers.reset();
  }
});
