import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { serviceEvent, type ServiceEvent } from "../../contract/service.ts";
import { streamQueueBytesMax } from "./limits.ts";
import { ServiceStream } from "./service-stream.ts";

class FakeReader {
  readonly lines: Record<string, unknown>[] = [];
  readonly abort = new AbortController();
  readonly signal = this.abort.signal;
  queuedBytes = 0;
  hasEnded = false;

  send(line: Readonly<Record<string, unknown>>): void {
    this.lines.push(line);
  }
  end(): void {
    this.hasEnded = true;
  }
  async drained(): Promise<void> {}
}

const never = new Promise<void>(() => undefined);
const output = (data: string): ServiceEvent => serviceEvent.output("stdout", data, 1);

test("a reader that is slow misses output, is told how much, and nothing else", () => {
  const reader = new FakeReader();
  const stream = new ServiceStream(reader);
  stream.send(output("a\n"));
  reader.queuedBytes = streamQueueBytesMax + 1;
  for (let line = 0; line < 1000; line++) stream.send(output("lost\n"));
  stream.send(serviceEvent.exit(3, 2));
  stream.complete("web");
  assert.deepEqual(
    reader.lines.map(({ type, data }) => [type, data]),
    [
      ["stdout", "a\n"],
      ["stderr", "sprite: 1000 lines were not read in time; the log has them\n"],
      ["exit", undefined],
      ["complete", undefined],
    ],
  );
  assert.ok(reader.hasEnded);
});

test("watching ends with the service, its reader, its deletion, or the time", async (t) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  t.after(() => mock.timers.reset());
  const watch = (
    gone: Promise<void> = never,
  ): { stream: ServiceStream; reader: FakeReader; done: Promise<void> } => {
    const reader = new FakeReader();
    const stream = new ServiceStream(reader);
    // A restart stops it first: that is not the end that is watched for.
    stream.send(serviceEvent.stopped(143, 1));
    stream.send(serviceEvent.started(1));
    return { stream, reader, done: stream.watched(5_000, gone) };
  };
  const ends = [serviceEvent.exit(1, 2), serviceEvent.stopped(143, 2), serviceEvent.error("x", 2)];
  for (const end of ends) {
    const { stream, done } = watch();
    stream.send(end);
    await done;
    await stream.watched(5_000, never);
  }
  const left = watch();
  left.reader.abort.abort();
  await left.done;
  await watch(Promise.resolve()).done;
  const { done } = watch();
  mock.timers.tick(5_000);
  await done;
});
