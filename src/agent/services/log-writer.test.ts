/** The log's writer against guests that play with it. */
import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { mock, test } from "node:test";

import { createLog } from "../../base/log.ts";
import type { ExitStatus, PipeProcess } from "../../sandbox/process.ts";
import { logRetryMs, logWriteMsMax } from "./limits.ts";
import { LogWriter } from "./log-writer.ts";

type Answer = (head: string, process: FakeWriter) => void;

class FakeWriter {
  readonly stdin = new PassThrough();
  readonly stdout = new PassThrough();
  readonly stderr = new PassThrough();
  readonly #exit = Promise.withResolvers<ExitStatus>();
  readonly exited = this.#exit.promise;
  isKilled = false;
  isAtEnd = false;

  constructor(answer: Answer) {
    this.stdin.on("data", (bytes: Buffer) => {
      const text = bytes.toString();
      if (/^\S+ [0-9]+ (yes|no)\n/.test(text)) answer(text, this);
    });
    this.stdin.on("end", () => (this.isAtEnd = true));
  }

  kill(): void {
    this.isKilled = true;
    this.end();
  }

  end(): void {
    this.stdout.destroy();
    this.#exit.resolve({ kind: "exited", code: 137 });
  }
}

function writerOf(answer: Answer): { writer: LogWriter; started: FakeWriter[] } {
  const started: FakeWriter[] = [];
  const launcher = {
    launch: async () => {
      const process = new FakeWriter(answer);
      started.push(process);
      return process as unknown as PipeProcess;
    },
  };
  const log = createLog({ level: "fatal", room: "test" });
  return { writer: new LogWriter({ launcher, directory: "/logs", log }), started };
}

test("one process writes for all, and a file that would grow too large is put aside", async () => {
  const heads: string[] = [];
  const { writer, started } = writerOf((head, process) => {
    heads.push(head.split("\n", 1)[0] ?? "");
    process.stdout.write(`${5 * 1024 * 1024 - 10}\n`);
  });
  assert.equal(await writer.append("web", "hello\n"), true);
  assert.equal(await writer.append("web", "hello again\n"), true);
  assert.equal(await writer.append("db", "x\n"), true);
  assert.deepEqual(heads, ["web 6 no", "web 12 yes", "db 2 no"]);
  assert.equal(started.length, 1);
  await writer.end();
  await new Promise(setImmediate);
  assert.ok(started[0]?.isAtEnd);
});

test("a writer that cannot write says so, and one that ends is replaced after a while", async () => {
  const refusing = writerOf((_, process) => process.stdout.write("-\n"));
  assert.equal(await refusing.writer.append("web", "x\n"), false);

  const ending = writerOf((_, process) => process.end());
  assert.equal(await ending.writer.append("web", "x\n"), false);
  assert.equal(await ending.writer.append("web", "x\n"), false);
  assert.equal(ending.started.length, 1, "not tried again at once");
  const now = performance.now();
  const clock = mock.method(performance, "now", () => now + 2 * logRetryMs);
  await ending.writer.append("web", "x\n");
  clock.mock.restore();
  assert.equal(ending.started.length, 2);
});

test("one that floods its output, or never answers, is ended", async (t) => {
  const flood = writerOf((_, process) => process.stdout.write("x".repeat(100_000)));
  assert.equal(await flood.writer.append("web", "x\n"), false);
  assert.ok(flood.started[0]?.isKilled);

  mock.timers.enable({ apis: ["setTimeout"] });
  t.after(() => mock.timers.reset());
  const silent = writerOf(() => undefined);
  const answer = silent.writer.append("web", "x\n");
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
  mock.timers.tick(logWriteMsMax);
  assert.equal(await answer, false);
  assert.ok(silent.started[0]?.isKilled);
});
