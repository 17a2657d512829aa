import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { PassThrough } from "node:stream";
import { mock, test } from "node:test";
import type { WebSocket } from "ws";

import { execStream } from "../../contract/exec-frames.ts";
import { SocketClient } from "./socket-client.ts";

/** Keeps what is sent, in the order of sending. */
class FakeSocket extends EventEmitter {
  readonly OPEN = 1;
  readyState = 1;
  readonly sent: string[] = [];
  send(data: string | Buffer, callback: () => void): void {
    this.sent.push(typeof data === "string" ? data : `<${data.toString("latin1")}>`);
    callback();
  }
  close(code: number, reason: string): void {
    this.sent.push(`close ${code} ${reason}`);
    this.readyState = 2;
    this.emit("close");
  }
}

function connect(tty: boolean): { fake: FakeSocket; client: SocketClient } {
  const fake = new FakeSocket();
  const socket = fake as unknown as WebSocket;
  return { fake, client: new SocketClient(socket, new PassThrough(), { tty }) };
}

test("contract 16.9: a silent session gets an empty frame at least every 20 s, until its end", () => {
  mock.timers.enable({ apis: ["setInterval"] });
  try {
    const { fake, client } = connect(false);
    mock.timers.tick(20_000);
    assert.deepEqual(fake.sent, ["<>"]);
    for (let i = 0; i < 3; i++) mock.timers.tick(20_000);
    assert.ok(fake.sent.length >= 4, String(fake.sent.length));
    client.sendEnd({ kind: "exited", code: 0 });
    const count = fake.sent.length;
    mock.timers.tick(100_000);
    assert.equal(fake.sent.length, count);
  } finally {
    mock.timers.reset();
  }
});

test("each mode has its frames and its ending", () => {
  const pipe = connect(false);
  pipe.client.sendOutput(execStream.stderr, Buffer.from("e"));
  pipe.client.sendEnd({ kind: "exited", code: 9 });
  const exit = JSON.stringify({ type: "exit", exit_code: 9, code: 9 });
  assert.deepEqual(pipe.fake.sent, ["<\x02e>", "<\x03\t>", exit, "close 1000 "]);
  const terminal = connect(true);
  terminal.client.sendOutput(execStream.stdout, Buffer.from("o"));
  terminal.client.sendEnd({ kind: "exited", code: 9 });
  assert.deepEqual(terminal.fake.sent, ["<o>", exit, "close 4000 "]);
});

test("an end that is no exit has a reason and its own code, and no exit notice", () => {
  for (const [kind, code] of [
    ["lost", 1011],
    ["stopped", 1001],
    ["too_slow", 4008],
  ] as const) {
    const { fake, client } = connect(false);
    client.sendEnd({ kind, reason: "why" });
    assert.deepEqual(fake.sent, ["<\x02sprite: why\n>", `close ${code} why`]);
  }
});

test("a long reason is cut to what a close frame holds", () => {
  const { fake, client } = connect(true);
  client.sendEnd({ kind: "lost", reason: "ü".repeat(200) });
  const reason = fake.sent.at(-1)?.split(" ")[2] ?? "";
  assert.ok(Buffer.byteLength(reason) <= 123 && reason.length > 50);
});
