import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { after, afterEach, before, describe, test } from "node:test";
import { collect, SpriteBench, waitUntil } from "./testing/run-sprite.ts";

const blockBytes = randomBytes(1024 * 1024);
/** Node alone takes 50 MiB, and lets about 100 MiB of used buffers lie before it collects them. */
const memoryBytesMax = 200 * 1024 * 1024;

describe("sprite exec", () => {
  let bench: SpriteBench;
  before(async () => {
    bench = await SpriteBench.start();
    bench.server.addSprite("box");
  });
  after(async () => {
    await bench.stop();
  });
  afterEach(() => {
    bench.server.requests.length = 0;
    delete bench.server.faults.dropExit;
  });
  const exec = (...words: string[]): string[] => ["exec", "-s", "box", ...words];

  for (const transport of [[], ["--http-post"]]) {
    const name = transport[0] ?? "WebSocket";

    test(`${name}: passes stdout, stderr and the exit code on`, async () => {
      const script = "echo out; echo err >&2; exit 7";
      const result = await bench.run(exec(...transport, "--", "sh", "-c", script));
      assert.deepEqual(result, { exitCode: 7, signal: null, stdout: "out\n", stderr: "err\n" });
    });

    test(`${name}: sends stdin and its end`, async () => {
      const stdin = "ü\0 one\ntwo";
      const result = await bench.run(exec(...transport, "cat"), { stdin });
      assert.equal(result.stdout, stdin);
      assert.equal(result.exitCode, 0);
      const empty = await bench.run(exec(...transport, "--no-stdin", "cat"), { stdin });
      assert.deepEqual([empty.exitCode, empty.stdout], [0, ""]);
    });

    test(`${name}: gives 127 for a command that is not there`, async () => {
      const result = await bench.run(exec(...transport, "no-such-command"));
      assert.equal(result.exitCode, 127);
      assert.match(result.stderr, /no-such-command/);
    });

    test(`${name}: gives 128+n for a command that a signal ended`, async () => {
      const result = await bench.run(exec(...transport, "sh", "-c", "kill -KILL $$"));
      assert.equal(result.exitCode, 137);
    });

    test(`${name}: a connection that ends without an exit code is an error`, async () => {
      bench.server.faults.dropExit = true;
      const result = await bench.run(exec(...transport, "echo", "ok"));
      assert.equal(result.exitCode, 1);
      assert.equal(result.stdout, "ok\n");
      assert.match(result.stderr, /exit code is not known/);
    });

    test(`${name}: an unknown sprite is told, with the names it might be`, async () => {
      const result = await bench.run(["exec", "-s", "bx", ...transport, "true"]);
      assert.equal(result.exitCode, 1);
      assert.match(result.stderr, /there is no sprite "bx"\n {2}Did you mean box\?/);
    });

    test(`${name}: 100 MB go through and back with flat memory`, async () => {
      const child = bench.spawn(exec(...transport, "cat"));
      const sent = createHash("sha256");
      const received = createHash("sha256");
      let peakBytes = 0;
      child.stdout.on("data", (chunk: Buffer) => received.update(chunk));
      const closed = once(child, "close");
      for (let i = 0; i < 100; i++) {
        sent.update(blockBytes);
        if (!child.stdin.write(blockBytes)) await once(child.stdin, "drain");
        if (i === 90) peakBytes = residentPeakBytes(child.pid);
      }
      child.stdin.end();
      const [exitCode] = (await closed) as [number];
      assert.equal(exitCode, 0);
      assert.equal(received.digest("hex"), sent.digest("hex"));
      assert.ok(peakBytes < memoryBytesMax, `the client took ${peakBytes} bytes`);
    });

    test(`${name}: a reader that has gone ends it quietly`, async () => {
      const child = bench.spawn(exec(...transport, "yes"));
      child.stdin.end();
      await once(child.stdout, "data");
      child.stdout.destroy();
      const stderr: Buffer[] = [];
      child.stderr.on("data", (chunk: Buffer) => stderr.push(chunk));
      const [exitCode] = (await once(child, "exit")) as [number];
      assert.equal(exitCode, 141);
      assert.equal(Buffer.concat(stderr).toString(), "");
    });
  }

  test("a reader that stands still slows the command down", async () => {
    const child = bench.spawn(exec("yes"));
    child.stdin.end();
    await once(child.stdout, "readable");
    let previousBytes = 0;
    // Standing still is seen when the amount of memory has stopped to grow.
    await waitUntil(
      () => {
        const bytes = residentPeakBytes(child.pid);
        const isStill = bytes === previousBytes;
        previousBytes = bytes;
        return isStill ? true : undefined;
      },
      () => `flat memory, now ${previousBytes}`,
    );
    assert.ok(previousBytes < memoryBytesMax, `the client took ${previousBytes} bytes`);
    child.stdout.destroy();
    const [exitCode] = (await once(child, "exit")) as [number];
    assert.equal(exitCode, 141);
  });

  test("ends when the command does, although stdin stays open", async () => {
    const child = bench.spawn(exec("true"));
    const [exitCode] = (await once(child, "exit")) as [number];
    assert.equal(exitCode, 0);
    child.stdin.destroy();
  });

  test("sets directory and environment", async () => {
    const options = ["--dir", "/usr", "--env", "A=1,B=x,y", "--env", "C=a\\,D=2"];
    const script = 'pwd; echo "$A|$B|$C|$D"';
    const result = await bench.run(exec(...options, "--", "sh", "-c", script));
    assert.equal(result.stdout, "/usr\n1|x,y|a,D=2|\n");
  });

  test("leaves the words of the command alone", async () => {
    const words = ["--json", "-s", "other", "--", "a b", "", "ü'\"$x"];
    const script = 'for w; do echo "<$w>"; done';
    const result = await bench.run(["-s", "box", "x", "sh", "-c", script, "sh", ...words]);
    assert.equal(result.stdout, words.map((word) => `<${word}>\n`).join(""));
    assert.equal(result.exitCode, 0);
  });

  test("hands Ctrl+C and SIGTERM to the command", async () => {
    for (const [signal, expected] of [
      ["SIGINT", 42],
      ["SIGTERM", 43],
    ] as const) {
      const script =
        "trap 'exit 42' INT; trap 'exit 43' TERM; echo up; while :; do sleep 0.02; done";
      const child = bench.spawn(exec("--", "bash", "-c", script));
      await once(child.stdout, "data");
      child.kill(signal);
      const [exitCode] = (await once(child, "exit")) as [number];
      assert.equal(exitCode, expected);
      child.stdin.destroy();
    }
  });

  test("lets go of a command that ignores three Ctrl+C", async () => {
    const child = bench.spawn(exec("--", "bash", "-c", "trap '' INT; echo up; exec sleep 30"));
    const result = collect(child);
    await once(child.stdout, "data");
    const timer = setInterval(() => child.kill("SIGINT"), 50);
    const { exitCode } = await result;
    clearInterval(timer);
    assert.equal(exitCode, 130);
    child.stdin.destroy();
  });

  test("gives --tty commands a terminal, also in a pipe", async () => {
    const result = await bench.run(exec("--tty", "--", "sh", "-c", "tty; stty size; exit 5"));
    assert.match(result.stdout, /^\/dev\/.*\r\n24 80\r\n$/);
    assert.equal(result.exitCode, 5);
  });

  test("a terminal and plain HTTP exclude each other", async () => {
    const result = await bench.run(exec("--tty", "--http-post", "true"));
    assert.equal(result.exitCode, 1);
    assert.deepEqual(bench.server.requests, []);
  });

  test("broken --env says what is right and shows no value", async () => {
    const result = await bench.run(exec("--env", "secret-value", "true"));
    assert.equal(result.exitCode, 1);
    assert.match(result.stderr, /NAME=value/);
    assert.doesNotMatch(result.stderr, /secret-value/);
  });

  test("without a server it says how to start one", async () => {
    const env = { SPRITES_API_URL: "http://127.0.0.1:1" };
    for (const transport of [[], ["--http-post"]]) {
      const result = await bench.run(exec(...transport, "true"), { env });
      assert.equal(result.exitCode, 1);
      assert.match(result.stderr, /no server answers at http:\/\/127\.0\.0\.1:1\n/);
    }
  });

  test("a refused token is told as that", async () => {
    const result = await bench.run(exec("true"), { env: { SPRITE_TOKEN: "wrong" } });
    assert.equal(result.exitCode, 1);
    assert.match(result.stderr, /SPRITE_TOKEN was refused/);
    assert.match(result.stderr, /bin\/spritesd token create --org local/);
  });
});

function residentPeakBytes(pid: number | undefined): number {
  const status = readFileSync(`/proc/${String(pid)}/status`, "utf8");
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? Number.NaN) * 1024;
}
