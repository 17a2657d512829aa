import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { waitUntil } from "../../base/wait.ts";
import { execStream, type OutputStream } from "../../contract/exec-frames.ts";
import type { ExitStatus, ProcessRecord } from "../../sandbox/process.ts";
import { clientQueueBytesMax, noticeLagBytesMax } from "./limits.ts";
import type { SessionClient, SessionEnd } from "./session-client.ts";
import type { SessionProcess } from "./session-process.ts";
import { Session } from "./session.ts";

/** A process whose output, end and input the test holds in its hands. */
class FakeProcess implements SessionProcess {
  readonly pid = 42;
  readonly executable = "/bin/fake";
  readonly record: ProcessRecord = {
    kind: "pipes",
    slot: 1,
    pid: 42,
    executable: "/bin/fake",
    hostPid: 0,
  };
  readonly stdout = new PassThrough();
  readonly stderr = new PassThrough();
  readonly outputs = [
    { stream: execStream.stdout, source: this.stdout },
    { stream: execStream.stderr, source: this.stderr },
  ];
  readonly signals: string[] = [];
  input = "";
  inputEnded = false;
  readonly #exit = Promise.withResolvers<ExitStatus>();
  readonly exited = this.#exit.promise;

  write(bytes: Uint8Array, onTaken: () => void): void {
    this.input += Buffer.from(bytes).toString();
    onTaken();
  }
  endInput(): void {
    this.inputEnded = true;
  }
  resize(): void {}
  kill(signal: NodeJS.Signals): void {
    this.signals.push(signal);
    if (signal === "SIGTERM") this.exit({ kind: "exited", code: 143 });
  }
  exit(status: ExitStatus): void {
    this.#exit.resolve(status);
  }
  closeOutputs(): void {
    this.stdout.end();
    this.stderr.end();
  }
}

class FakeClient implements SessionClient {
  queuedBytes = 0;
  readonly output: Array<[OutputStream, string]> = [];
  readonly ends: SessionEnd[] = [];
  sendOutput(stream: OutputStream, bytes: Buffer): void {
    assert.equal(this.ends.length, 0, "output after the end");
    this.output.push([stream, bytes.toString()]);
  }
  readonly notices: string[] = [];
  sendNotice(text: string): void {
    this.notices.push(text);
  }
  sendEnd(end: SessionEnd): void {
    this.ends.push(end);
  }
  text(): string {
    return this.output.map(([, text]) => text).join("");
  }
}

function start(runAfterDisconnectMs: number | null = null) {
  const process = new FakeProcess();
  const command = { argv: ["fake", "x"], path: "fake", environment: [], directory: "/" };
  const session = new Session(process, { command, terminal: null, runAfterDisconnectMs });
  const owner = new FakeClient();
  const attachment = session.attach(owner, { isOwner: true });
  session.run();
  return { process, session, owner, attachment };
}

test("a client gets every byte, then exactly one end", async () => {
  const { process, session, owner } = start();
  process.stdout.write("a");
  process.exit({ kind: "exited", code: 3 });
  await sleep(30);
  process.stderr.write("b");
  process.closeOutputs();
  await session.ended;
  assert.equal(owner.text(), "ab");
  assert.deepEqual(owner.ends, [{ kind: "exited", code: 3 }]);
  assert.equal(session.commandText, "/bin/fake x");
});

test("a pipe that others hold delays the end only for a while", async () => {
  const { process, session, owner } = start();
  process.stdout.write("last");
  const startMs = performance.now();
  process.exit({ kind: "exited", code: 0 });
  await session.ended;
  const waitedMs = performance.now() - startMs;
  assert.ok(waitedMs >= 200 && waitedMs < 10_000, String(waitedMs));
  assert.equal(owner.text(), "last");
});

test("a pipe that others keep writing to delays the end only for a while", async () => {
  const { process, session } = start();
  const writer = setInterval(() => process.stdout.write("x"), 10);
  const startMs = performance.now();
  process.exit({ kind: "exited", code: 0 });
  await session.ended;
  clearInterval(writer);
  assert.ok(performance.now() - startMs < 10_000);
});

test("an end that nobody saw is told as lost, never as an exit", async () => {
  const { process, session, owner } = start();
  process.exit({ kind: "lost", reason: "gone" });
  process.closeOutputs();
  await session.ended;
  assert.deepEqual(owner.ends, [{ kind: "lost", reason: "gone" }]);
});

test("the owner's full queue holds the command back, and its drain lets it go on", async () => {
  const { process, owner, attachment } = start();
  owner.queuedBytes = 10 * 1024 * 1024;
  process.stdout.write("a");
  await waitUntil(() => process.stdout.isPaused(), { timeoutMs: 10_000 });
  assert.ok(process.stdout.isPaused());
  process.stdout.write("b");
  owner.queuedBytes = 0;
  attachment.drained();
  await waitUntil(() => owner.text() === "ab", { timeoutMs: 10_000 });
  assert.equal(owner.text(), "ab");
});

test("output that is held back for a slow owner is still delivered after the exit", async () => {
  const { process, session, owner, attachment } = start();
  owner.queuedBytes = 10 * 1024 * 1024;
  process.stdout.write("a");
  await waitUntil(() => process.stdout.isPaused(), { timeoutMs: 10_000 });
  process.stdout.write("b");
  process.exit({ kind: "exited", code: 0 });
  process.closeOutputs();
  await sleep(700);
  assert.equal(owner.ends.length, 0);
  owner.queuedBytes = 0;
  attachment.drained();
  await session.ended;
  assert.equal(owner.text(), "ab");
});

test("a slow observer is dropped and the others go on; without an owner the first client sets the pace", async () => {
  const { process, session, owner, attachment } = start();
  const slow = new FakeClient();
  const slowAttachment = session.attach(slow, { isOwner: false });
  slow.queuedBytes = 10 * 1024 * 1024;
  process.stdout.write("a");
  await waitUntil(() => owner.text() === "a", { timeoutMs: 10_000 });
  assert.equal(slow.ends[0]?.kind, "too_slow");
  slowAttachment.detach();
  const first = new FakeClient();
  session.attach(first, { isOwner: false });
  attachment.detach();
  first.queuedBytes = 10 * 1024 * 1024;
  process.stdout.write("b");
  await waitUntil(() => process.stdout.isPaused(), { timeoutMs: 10_000 });
  assert.ok(process.stdout.isPaused());
  assert.equal(first.ends.length, 0);
});

test("notices go to every client, and one that reads nothing at all is dropped", async () => {
  const { process, session, owner } = start(80);
  const notice = { type: "port_opened", port: 1, address: "127.0.0.1", pid: 7 } as const;
  // Output that waits is no reason: the command is held back for it.
  owner.queuedBytes = clientQueueBytesMax + 1;
  session.notice(notice);
  assert.deepEqual([owner.notices, owner.ends], [[JSON.stringify(notice)], []]);
  owner.queuedBytes = noticeLagBytesMax + 1;
  session.notice(notice);
  assert.equal(owner.ends[0]?.kind, "too_slow");
  session.notice(notice);
  assert.equal(owner.notices.length, 2);
  // The command goes on as without a client.
  await session.exited;
  assert.deepEqual(process.signals, ["SIGTERM"]);
});

test("who attaches late sees the past in order, and whose end of input it is counts", async () => {
  const { process, session, attachment } = start();
  process.stdout.write("out");
  await sleep(10);
  process.stderr.write("err");
  await sleep(10);
  const late = new FakeClient();
  const lateAttachment = session.attach(late, { isOwner: false });
  assert.deepEqual(late.output, [
    [execStream.stdout, "out"],
    [execStream.stderr, "err"],
  ]);
  lateAttachment.write(Buffer.from("1"), () => {});
  lateAttachment.endInput();
  lateAttachment.write(Buffer.from("2"), () => {});
  assert.equal(process.inputEnded, false);
  attachment.write(Buffer.from("3"), () => {});
  attachment.endInput();
  assert.equal(process.input, "13");
  assert.equal(process.inputEnded, true);
});

test("a command outlives its last client only for its time, and a new client stops the clock", async () => {
  const lifeMs = 400;
  const { process, session, attachment } = start(lifeMs);
  attachment.detach();
  await sleep(20);
  const second = session.attach(new FakeClient(), { isOwner: false });
  await sleep(lifeMs + 50);
  assert.deepEqual(process.signals, []);
  second.detach();
  await session.exited;
  assert.deepEqual(process.signals, ["SIGTERM"]);
});

test("a stop tells every client once and takes no more output", async () => {
  const { process, session, owner } = start();
  session.stop("the sprite is stopping");
  process.exit({ kind: "lost", reason: "killed" });
  await session.ended;
  await sleep(10);
  assert.deepEqual(owner.ends, [{ kind: "stopped", reason: "the sprite is stopping" }]);
});
