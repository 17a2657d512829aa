import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { logLineLengthMax, partialLineMs } from "./limits.ts";
import { formatLogLine, LineCutter, parseLogLine } from "./log-lines.ts";

function cut(chunks: readonly (string | Buffer)[]): string[] {
  const lines: string[] = [];
  const cutter = new LineCutter((text) => lines.push(text));
  for (const chunk of chunks) cutter.push(Buffer.from(chunk));
  cutter.end();
  return lines;
}

test("lines are told whole, whatever the reads", () => {
  assert.deepEqual(cut(["a", "b\ncd", "\n\nlast"]), ["ab\n", "cd\n", "\n", "last"]);
  const text = Buffer.from("é\n");
  assert.deepEqual(cut([text.subarray(0, 1), text.subarray(1)]), ["é\n"]);
});

test("long lines are cut, and lose nothing", () => {
  const long = `${"x".repeat(logLineLengthMax - 1)}😀${"y".repeat(3 * logLineLengthMax)}\nnext\n`;
  const lines = cut([long]);
  assert.equal(lines.join(""), long);
  assert.ok(lines.every((line) => line.length <= logLineLengthMax && line.isWellFormed()));
  assert.equal(lines.at(-1), "next\n");
});

test("text without a line's end is told after a while", (t) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  t.after(() => mock.timers.reset());
  const lines: string[] = [];
  const cutter = new LineCutter((text) => lines.push(text));
  cutter.push(Buffer.from("Password: "));
  assert.deepEqual(lines, []);
  mock.timers.tick(partialLineMs);
  assert.deepEqual(lines, ["Password: "]);
  cutter.push(Buffer.from("ok\n"));
  assert.deepEqual(lines, ["Password: ", "ok\n"]);
});

test("a line of the file is read as it was written", () => {
  const record = { stream: "stderr" as const, data: "some [text]\n", timeMs: 1_780_420_277_821 };
  const line = formatLogLine(record);
  assert.equal(line, "2026-06-02T17:11:17.821Z [stderr] some [text]\n");
  assert.deepEqual(parseLogLine(line.slice(0, -1), 0), record);
  assert.equal(formatLogLine({ ...record, data: "" }), "2026-06-02T17:11:17.821Z [stderr] \n");
  const foreign = { stream: "stdout", data: "written by hand\n", timeMs: 5 };
  assert.deepEqual(parseLogLine("written by hand", 5), foreign);
});
