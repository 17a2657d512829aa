import assert from "node:assert/strict";
import { test } from "node:test";

import { exitChunkGapMs } from "./limits.ts";
import { PacedWriter } from "./paced-writer.ts";

test("chunks that come together leave apart, in order, and then the end", async () => {
  const written: { text: string; atMs: number }[] = [];
  const ended = Promise.withResolvers<void>();
  const sink = {
    write(bytes: Buffer) {
      written.push({ text: bytes.toString(), atMs: performance.now() });
      return true;
    },
    end: () => ended.resolve(),
  };
  const chunk = (letter: string): Buffer => Buffer.from(letter.repeat(3));
  const idle = Promise.withResolvers<void>();
  const writer = new PacedWriter(sink, { gapMs: 4, onIdle: () => idle.resolve() });
  assert.ok(writer.write(chunk("a")));
  assert.ok(!writer.write(chunk("b")));
  assert.ok(!writer.write(chunk("c")));
  await idle.promise;
  await new Promise((resolve) => setTimeout(resolve, 10));
  assert.ok(writer.write(chunk("d")), "after a pause there is nothing to wait for");
  assert.ok(!writer.write(chunk("e")));
  writer.end();
  await ended.promise;
  assert.equal(written.map((entry) => entry.text).join(""), "aaabbbcccdddeee");
  for (const [index, entry] of written.slice(1).entries()) {
    assert.ok(entry.atMs - (written[index]?.atMs ?? 0) >= 4);
  }
});

test("what can be an exit frame is kept apart for longer", async () => {
  const atMs: number[] = [];
  const ended = Promise.withResolvers<void>();
  const sink = {
    write: () => atMs.push(performance.now()) > 0,
    end: () => ended.resolve(),
  };
  const writer = new PacedWriter(sink, { gapMs: 1, onIdle: () => {} });
  writer.write(Buffer.from("output"));
  writer.write(Buffer.from([3, 0]));
  writer.end();
  await ended.promise;
  assert.ok((atMs[1] ?? 0) - (atMs[0] ?? 0) >= exitChunkGapMs);
});

test("a cancelled writer writes no more", async () => {
  const written: string[] = [];
  const sink = { write: (bytes: Buffer) => written.push(bytes.toString()) > 0, end: () => {} };
  const writer = new PacedWriter(sink, { gapMs: 1, onIdle: () => {} });
  writer.write(Buffer.from("a"));
  writer.write(Buffer.from("b"));
  writer.cancel();
  await new Promise((resolve) => setTimeout(resolve, 10));
  assert.deepEqual(written, ["a"]);
});
