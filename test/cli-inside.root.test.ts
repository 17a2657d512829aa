/** What the `sprite` command does with the inside of a running sprite: ports, services, policies. */
import assert from "node:assert/strict";
import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { once } from "node:events";
import { connect, createServer, type AddressInfo } from "node:net";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { text } from "node:stream/consumers";
import { waitUntil } from "../src/base/wait.ts";
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

describe("the sprite command", () => {
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

  test("ports that a command opens are reachable here while it runs", async () => {
    // The same number here and there, so one that is free here.
    const spare = createServer().listen(0, "127.0.0.1");
    await once(spare, "listening");
    const { port } = spare.address() as AddressInfo;
    spare.close();
    const script = shouter.replace("9000", String(port));
    const child = sprite(["exec", "-s", "net", "--", "python3", "-c", script]);
    assert.ok(await waitUntil(() => isListening(port), { timeoutMs: 20_000 }), "it is forwarded");
    assert.equal(await say(port, "forwarded"), "FORWARDED");
    child.kill("SIGTERM");
    assert.deepEqual(await once(child, "exit"), [143, null]);
    const gone = connect({ host: "127.0.0.1", port });
    const [error] = (await once(gone, "error")) as [NodeJS.ErrnoException];
    assert.equal(error.code, "ECONNREFUSED");
  });

  test("services: create, list, logs, signal, stop, start, delete", async () => {
    const on = async (...args: string[]) => await server.cli(["services", ...args, "-s", "net"]);
    const loop = "trap 'echo hup' HUP; echo up; echo oops >&2; while :; do sleep 0.1; done";
    const create = ["--env", "A=b", "--duration", "2s", "loop", "--", "sh", "-c", loop];
    const made = await server.cli(["services", "-s", "net", "create", ...create]);
    assert.equal(made.code, 0, made.stderr);
    assert.match(made.stdout, /^up\n$/);
    assert.match(made.stderr, /started\n/);
    const [service] = JSON.parse((await on("list", "--json")).stdout) as object[];
    assert.partialDeepStrictEqual(service, {
      name: "loop",
      env: { A: "b" },
      state: { status: "running" },
    });
    assert.match((await on("list")).stdout, /^loop +running /m);
    assert.equal((await on("signal", "loop", "HUP")).code, 0);
    const following = sprite(["services", "logs", "loop", "-f", "-s", "net"]);
    assert.equal(await firstLine(following, "stdout", /hup/), "hup");
    following.kill("SIGINT");
    assert.equal((await on("stop", "loop", "--timeout", "2s")).code, 0);
    assert.match((await on("get", "loop")).stdout, /^Status: +stopped$/m);
    assert.equal((await on("start", "loop", "--duration", "0")).code, 0);
    const logs = await on("logs", "loop", "--lines", "10");
    assert.match(logs.stdout, /up\n[^]*hup\n/);
    assert.match(logs.stderr, /oops/);
    assert.equal((await on("delete", "loop")).code, 0);
    assert.match((await on("get", "loop")).stderr, /sprite services list/);
    const ends = await server.cli([
      "services",
      "-s",
      "net",
      "create",
      "--json",
      "ends",
      "--",
      "false",
    ]);
    assert.equal(ends.code, 1);
    assert.partialDeepStrictEqual(JSON.parse(ends.stderr), {
      error: "service_exited",
      exit_code: 1,
    });
    assert.equal((await on("delete", "ends")).code, 0);
  });

  test("network policies: set, changed rule by rule, explained, taken away", async () => {
    const on = async (...args: string[]) => await server.cli(["policy", ...args, "-s", "net"]);
    const rules = async (): Promise<unknown> =>
      (JSON.parse((await on("network", "show", "--json")).stdout) as { rules: unknown }).rules;
    assert.deepEqual(await rules(), []);
    const set = await on("network", "set", "--include", "defaults", "--allow", "*.example.com");
    assert.equal(set.code, 0, set.stderr);
    await on("network", "deny", "x.example.com");
    const x = { domain: "x.example.com", action: "deny" };
    const rest = [{ include: "defaults" }, { domain: "*.example.com", action: "allow" }];
    assert.deepEqual(await rules(), [x, ...rest]);
    await on("network", "allow", "X.example.com");
    assert.partialDeepStrictEqual(await rules(), [{ action: "allow" }]);
    const tested = await on("network", "test", "a.example.com", "--json");
    assert.partialDeepStrictEqual(JSON.parse(tested.stdout), { action: "allow", addresses: [] });
    assert.match(
      (await on("network", "test", "b.org", "--no-lookup")).stdout,
      /the list `defaults`/,
    );
    assert.equal((await on("network", "remove", "x.example.com")).code, 0);
    assert.deepEqual(await rules(), rest);
    assert.equal((await on("network", "remove", "x.example.com")).code, 1);
    assert.match(
      (await on("network", "set", "--allow", "10.0.0.1")).stderr,
      /expected a domain name/,
    );
    assert.equal((await on("network", "clear")).code, 0);
    assert.deepEqual(await rules(), []);
  });

  test("policies of resources and privileges: by flags and from stdin, shown, taken away", async () => {
    const on = async (...args: string[]) => await server.cli(["policy", ...args, "-s", "net"]);
    const resourcesDone = (async () => {
      assert.equal((await on("resources", "set", "--memory", "1G", "--pids", "500")).code, 0);
      const resources = JSON.parse((await on("resources", "show", "--json")).stdout) as object;
      assert.deepEqual(resources, { memory: { limit_mb: 1024 }, pids: { limit: 500 } });
      assert.equal((await on("resources", "clear")).code, 0);
    })();
    const privilegesDone = (async () => {
      const input = { input: JSON.stringify({ profile: "minimal", noNewPrivileges: true }) };
      const file = ["policy", "privileges", "set", "--policy-file", "-", "-s", "net"];
      assert.match((await server.cli(file, input)).stderr, /sprite restart net/);
      assert.match((await on("privileges", "show")).stdout, /^profile: +minimal$/m);
      assert.equal((await on("privileges", "clear")).code, 0);
      assert.equal((await on("privileges", "set")).code, 1);
    })();
    await Promise.all([resourcesDone, privilegesDone]);
  });

  test("wrong ports and sprites are told before anything listens", async () => {
    for (const args of [[], ["web"], ["1:2:3:4"]]) {
      assert.equal((await server.cli(["proxy", "-s", "net", ...args])).code, 1);
    }
    const unknown = await server.cli(["proxy", "-s", "nett", "0:1", "--json"]);
    assert.partialDeepStrictEqual(JSON.parse(unknown.stderr), { suggestions: ["net"] });
  });
});

async function isListening(port: number): Promise<boolean> {
  const socket = connect({ host: "127.0.0.1", port });
  return await new Promise<boolean>((resolve) => {
    socket.once("connect", () => resolve(true));
    socket.once("error", () => resolve(false));
    socket.once("close", () => resolve(false));
  }).finally(() => socket.destroy());
}

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
