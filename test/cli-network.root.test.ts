/** Ports of a sprite, reached by the `sprite` command. */
import assert from "node:assert/strict";
import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { text } from "node:stream/consumers";
import { TestServer } from "./support/server.ts";

const spritePath = join(resolve(import.meta.dirname, ".."), "bin/sprite");
/** Answers each connection with what it sent, in capitals, once the sender has ended. */
const shouter = [
  "import socket, threading",
  "listener = socket.create_server(('127.0.0.1', 9000))",
  "def serve(c):",
  "    parts = []",
  "    while (part := c.recv(65536)): parts.append(part)",
  "    c.sendall(b''.join(parts).upper()); c.close()",
  "print('listening', flush=True)",
  "while True: threading.Thread(target=serve, args=(listener.accept()[0],)).start()",
].join("\n");

describe("sprite proxy", () => {
  let server: TestServer;
  const children: ChildProcessWithoutNullStreams[] = [];
  before(async () => {
    server = await TestServer.start();
    await server.client().createSprite("net");
    const inside = sprite([
      "exec",
      "-s",
      "net",
      "--no-port-forward",
      "--",
      "python3",
      "-c",
      shouter,
    ]);
    await firstLine(inside);
  });
  after(async () => {
    for (const child of children) child.kill("SIGKILL");
    await server.close();
  });

  function sprite(args: string[]): ChildProcessWithoutNullStreams {
    const child = spawn(spritePath, args, {
      cwd: server.dataDirectory,
      env: {
        PATH: process.env["PATH"],
        HOME: server.dataDirectory,
        SPRITES_API_URL: server.url,
        SPRITE_TOKEN: server.token,
      },
    });
    children.push(child);
    return child;
  }

  async function say(port: number, words: string | Buffer): Promise<string> {
    const socket = connect({ host: "127.0.0.1", port, allowHalfOpen: true });
    socket.end(words);
    return await text(socket);
  }

  test("local ports lead inside, many connections at once, each with its own end", async () => {
    const proxy = sprite(["proxy", "-s", "net", "0:9000", "0:localhost:9000", "--json"]);
    const mappings = JSON.parse(await firstLine(proxy)) as {
      local_port: number;
      remote_port: number;
    }[];
    assert.deepEqual(
      mappings.map(({ remote_port: port }) => port),
      [9000, 9000],
    );
    const ports = mappings.map(({ local_port: port }) => port);
    const large = Buffer.alloc(3_000_000, "x");
    const answers = await Promise.all([
      say(ports[0] ?? 0, "first"),
      say(ports[1] ?? 0, "second"),
      say(ports[0] ?? 0, large),
    ]);
    assert.deepEqual(answers.slice(0, 2), ["FIRST", "SECOND"]);
    assert.equal(answers[2], "X".repeat(large.length));
    proxy.kill("SIGINT");
    assert.deepEqual(await once(proxy, "exit"), [130, null]);
  });

  test("a port that nobody serves is told, and its connection reset", async () => {
    const proxy = sprite(["proxy", "-s", "net", "0:9999"]);
    const line = await firstLine(proxy);
    const port = Number(/:(\d+) -> localhost:9999 in net/.exec(line)?.[1]);
    const socket = connect({ host: "127.0.0.1", port });
    const [error] = (await once(socket, "error")) as [NodeJS.ErrnoException];
    assert.equal(error.code, "ECONNRESET");
    assert.match(await firstLine(proxy, "stderr", /9999/), /connect to localhost:9999.*refused/);
    proxy.kill("SIGTERM");
    assert.deepEqual(await once(proxy, "exit"), [143, null]);
  });

  test("-W is one connection over stdin and stdout", async () => {
    const child = sprite(["proxy", "-s", "net", "-W", ":9000"]);
    child.stdin.end("over stdio");
    assert.equal(await text(child.stdout), "OVER STDIO");
    const refused = await server.cli(["proxy", "-s", "net", "-W", ":9999", "--json"]);
    assert.equal(refused.code, 1);
    assert.partialDeepStrictEqual(JSON.parse(refused.stderr), { error: "connection_refused" });
  });

  test("wrong ports and sprites are told before anything listens", async () => {
    for (const args of [[], ["web"], ["1:2:3:4"]]) {
      assert.equal((await server.cli(["proxy", "-s", "net", ...args])).code, 1);
    }
    const unknown = await server.cli(["proxy", "-s", "nett", "0:1", "--json"]);
    assert.partialDeepStrictEqual(JSON.parse(unknown.stderr), { suggestions: ["net"] });
  });
});

/** The first line that fits. */
async function firstLine(
  child: ChildProcessWithoutNullStreams,
  stream: "stdout" | "stderr" = "stdout",
  pattern = /./,
): Promise<string> {
  let seen = "";
  for await (const part of child[stream].iterator({ destroyOnReturn: false })) {
    seen += String(part);
    const line = seen
      .split("\n")
      .slice(0, -1)
      .find((candidate) => pattern.test(candidate));
    if (line !== undefined) return line;
  }
  throw new Error(`the command ended: ${seen}`);
}
