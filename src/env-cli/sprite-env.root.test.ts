import assert from "node:assert/strict";
import { once } from "node:events";
import { linkSync, readFileSync, renameSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import { FakeSprite } from "./testing/fake-sprite.ts";

const time = "2026-01-05T10:30:00Z";
const line = (event: Record<string, unknown>): string => `${JSON.stringify({ ...event, time })}\n`;

describe("sprite-env where only /.sprite is left", () => {
  let sprite: FakeSprite;
  before(async () => {
    sprite = await FakeSprite.start();
  });
  after(async () => {
    await sprite.stop();
  });
  beforeEach(() => {
    sprite.seen.length = 0;
    sprite.answer = { status: 200, parts: ["[]"] };
  });

  test("lists checkpoints as the server's JSON", async () => {
    sprite.answer = { status: 200, parts: ['[{"id":"v1",', '"comment":"ü"}]'] };
    const result = await sprite.run(["checkpoints", "list"]);
    assert.deepEqual(result, {
      exitCode: 0,
      stdout: '[{"id":"v1","comment":"ü"}]\n',
      stderr: "",
    });
    await sprite.run(["checkpoints", "list", "--include-auto"]);
    assert.deepEqual(
      sprite.seen.map(({ method, url }) => `${method} ${url}`),
      ["GET /v1/checkpoints", "GET /v1/checkpoints?includeAuto=true"],
    );
  });

  for (const comment of [
    "plain words",
    "",
    'quotes " and \\ backslashes \\" \\n',
    "two\nlines\tand a tab\r\n",
    "control \u0001\u001b[31m\u007f",
    "ünïcödé 日本 😀",
    "$(id) `id` %s %n * ? ~ ' '",
    `long ${'x"y\\'.repeat(1000)}`,
  ]) {
    test(`sends the comment ${JSON.stringify(comment).slice(0, 50)} unharmed`, async () => {
      sprite.answer = {
        status: 200,
        parts: [line({ type: "info", data: "..." }), line({ type: "complete", data: "v3" })],
      };
      const result = await sprite.run(["checkpoints", "create", "--comment", comment]);
      assert.equal(result.exitCode, 0, result.stderr);
      assert.equal(sprite.seen[0]?.method, "POST");
      assert.equal(sprite.seen[0].url, "/v1/checkpoint");
      assert.equal(sprite.seen[0].contentType, "application/json");
      assert.deepEqual(JSON.parse(sprite.seen[0].body), { comment });
    });
  }

  test("prints the stream of create, and fails when it broke off", async () => {
    const parts = [line({ type: "info", data: "..." }), line({ type: "complete", data: "v3" })];
    sprite.answer = { status: 200, parts };
    const whole = await sprite.run(["checkpoints", "create"]);
    assert.deepEqual(whole, { exitCode: 0, stdout: parts.join(""), stderr: "" });
    assert.equal(sprite.seen[0]?.body, "{}");
    sprite.answer = { status: 200, parts: parts.slice(0, 1), isCut: true };
    const cut = await sprite.run(["checkpoints", "create"]);
    assert.equal(cut.exitCode, 1);
    assert.match(cut.stderr, /broke off/);
  });

  test("a restore that ends in an error is a failure", async () => {
    sprite.answer = {
      status: 200,
      parts: [line({ type: "info", data: "..." }), line({ type: "error", error: "disk full" })],
    };
    const result = await sprite.run(["checkpoints", "restore", "v1"]);
    assert.equal(result.exitCode, 1);
    assert.match(result.stderr, /disk full/);
    assert.equal(sprite.seen[0]?.url, "/v1/checkpoints/v1/restore");
  });

  test("an error in the middle of a checkpoint stream is not the end", async () => {
    sprite.answer = {
      status: 200,
      parts: [line({ type: "error", error: "retrying" }), line({ type: "complete", data: "v1" })],
    };
    assert.equal((await sprite.run(["checkpoints", "restore", "v1"])).exitCode, 0);
  });

  test("tells the server's errors as they came", async () => {
    const body = '{"error":"not_found","message":"no such checkpoint"}';
    sprite.answer = { status: 404, parts: [body] };
    const result = await sprite.run(["checkpoints", "info", "v9"]);
    assert.equal(result.exitCode, 1);
    assert.equal(result.stdout, "");
    assert.equal(result.stderr, `sprite-env: the sprite answered 404: ${body}\n`);
  });

  test("ids cannot leave their place in the path", async () => {
    await sprite.run(["checkpoints", "info", "../a b/ü?x"]);
    const url = sprite.seen[0]?.url ?? "";
    const [, , , segment = "", ...more] = url.split("/");
    assert.deepEqual(more, []);
    assert.equal(decodeURIComponent(segment), "../a b/ü?x");
  });

  test("deletes", async () => {
    sprite.answer = { status: 204, parts: [] };
    const result = await sprite.run(["checkpoints", "delete", "v2"]);
    assert.deepEqual(result, { exitCode: 0, stdout: "Deleted checkpoint v2.\n", stderr: "" });
    assert.equal(sprite.seen[0]?.method, "DELETE");
  });

  test("a document that broke off is no success", async () => {
    sprite.answer = { status: 200, parts: ['[{"id":"v1"'], isCut: true };
    const result = await sprite.run(["checkpoints", "list"]);
    assert.equal(result.exitCode, 1);
    assert.equal(result.stdout, "");
  });

  test("describes a service in JSON", async () => {
    const complete = line({ type: "complete" });
    sprite.answer = { status: 200, parts: [complete] };
    const result = await sprite.run([
      ...["services", "create", "web", "--cmd", "python3", "--args=-m,http.server,a\\,b"],
      ...["--env", 'A=1,B=x "y"', "--needs", "db", "--dir", "/srv", "--http-port", "3000"],
      ...["--duration", "2s"],
    ]);
    assert.deepEqual(result, { exitCode: 0, stdout: complete, stderr: "" });
    assert.equal(sprite.seen[0]?.method, "PUT");
    assert.equal(sprite.seen[0].url, "/v1/services/web?duration=2s");
    assert.deepEqual(JSON.parse(sprite.seen[0].body), {
      cmd: "python3",
      args: ["-m", "http.server", "a,b"],
      env: { A: "1", B: 'x "y"' },
      needs: ["db"],
      dir: "/srv",
      http_port: 3000,
    });
  });

  test("a service that could not start is a failure", async () => {
    sprite.answer = {
      status: 200,
      parts: [line({ type: "error", data: "no such file" }), line({ type: "complete" })],
    };
    const result = await sprite.run(["services", "start", "web"]);
    assert.equal(result.exitCode, 1);
    assert.match(result.stderr, /no such file/);
  });

  test("services that this server does not have yet are told honestly", async () => {
    sprite.answer = { status: 404, parts: ['{"error":"not_found","message":"no such endpoint"}'] };
    const result = await sprite.run(["services", "list"]);
    assert.equal(result.exitCode, 1);
    assert.match(result.stderr, /no such endpoint/);
  });

  test("signals a service", async () => {
    sprite.answer = { status: 204, parts: [] };
    const result = await sprite.run(["services", "signal", "web", "TERM"]);
    assert.equal(result.stdout, "Signaled service web.\n");
    assert.deepEqual(JSON.parse(sprite.seen[0]?.body ?? ""), { name: "web", signal: "TERM" });
  });

  test("calls any endpoint without curl", async () => {
    sprite.answer = { status: 201, parts: ['{"name":"agent"}'] };
    const result = await sprite.run(["curl", "-sX", "POST", "/v1/tasks"]);
    assert.equal(result.exitCode, 2, "a flag that is not known must not be guessed");
    const posted = await sprite.run(["curl", "-X", "POST", "/v1/tasks", "-d", '{"name":"agent"}']);
    assert.deepEqual(posted, { exitCode: 0, stdout: '{"name":"agent"}', stderr: "" });
    assert.equal(sprite.seen[0]?.body, '{"name":"agent"}');
    sprite.answer = { status: 404, parts: ["{}"] };
    assert.equal((await sprite.run(["curl", "/v1/tasks/x"])).exitCode, 0);
    assert.equal((await sprite.run(["curl", "-f", "/v1/tasks/x"])).exitCode, 22);
    const included = await sprite.run(["curl", "-i", "/v1/tasks/x"]);
    assert.match(included.stdout, /^HTTP\/1\.1 404 Not Found\r\n/);
    const piped = await sprite.run(["curl", "/v1/tasks", "-d", "@-"], { stdin: '{"a":1}' });
    assert.equal(piped.exitCode, 0);
    assert.equal(sprite.seen.at(-1)?.body, '{"a":1}');
  });

  test("uses the guest's curl when there is one", async () => {
    sprite.answer = { status: 201, parts: ["{}"] };
    const args = ["curl", "-X", "PUT", "/v1/tasks", "-d", "/v1/data", "-w", " %{http_code}"];
    const result = await sprite.run(args, { isWholeMachine: true });
    assert.deepEqual(result, { exitCode: 0, stdout: "{} 201", stderr: "" });
    assert.equal(sprite.seen[0]?.method, "PUT");
    assert.equal(sprite.seen[0].url, "/v1/tasks");
    assert.equal(sprite.seen[0].body, "/v1/data");
  });

  test("without unix-pipe it goes through the guest's curl", async () => {
    const pipePath = join(sprite.root, ".sprite", "bin", "unix-pipe");
    renameSync(pipePath, `${pipePath}.away`);
    try {
      const list = await sprite.run(["checkpoints", "list"], { isWholeMachine: true });
      assert.deepEqual(list, { exitCode: 0, stdout: "[]\n", stderr: "" });
      sprite.answer = { status: 200, parts: [line({ type: "complete", data: "v1" })] };
      const comment = 'a "b"\n';
      const created = await sprite.run(["checkpoints", "create", "--comment", comment], {
        isWholeMachine: true,
      });
      assert.equal(created.exitCode, 0, created.stderr);
      assert.deepEqual(JSON.parse(sprite.seen[1]?.body ?? ""), { comment });
      const none = await sprite.run(["checkpoints", "list"]);
      assert.equal(none.exitCode, 1);
      assert.match(none.stderr, /nor curl is here/);
    } finally {
      renameSync(`${pipePath}.away`, pipePath);
    }
  });

  test("says what is wrong when the socket is missing or dead", async () => {
    const other = await FakeSprite.start();
    try {
      const socketPath = join(other.root, ".sprite", "api.sock");
      renameSync(socketPath, `${socketPath}.away`);
      const missing = await other.run(["checkpoints", "list"]);
      assert.equal(missing.exitCode, 1);
      assert.match(missing.stderr, /api\.sock is not there/);
      // A socket file whose server has gone refuses connections.
      const dead = createServer().listen(socketPath);
      await once(dead, "listening");
      linkSync(socketPath, `${socketPath}.kept`);
      dead.close();
      await once(dead, "close");
      renameSync(`${socketPath}.kept`, socketPath);
      const refused = await other.run(["checkpoints", "create"]);
      assert.equal(refused.exitCode, 1);
      assert.match(refused.stderr, /no answer from \/\.sprite\/api\.sock/);
    } finally {
      await other.stop();
    }
  });

  for (const args of [
    [],
    ["frob"],
    ["checkpoints"],
    ["checkpoints", "info"],
    ["checkpoints", "info", ""],
    ["checkpoints", "info", "v1", "v2"],
    ["checkpoints", "create", "--comment"],
    ["checkpoints", "create", "--frob"],
    ["services", "create", "web"],
    ["services", "create", "web", "--cmd", "x", "--http-port", "80;"],
    ["services", "create", "web", "--cmd", "x", "--env", "novalue"],
    ["services", "start", "web", "--duration", "5 s&x"],
    ["curl"],
    ["tasks"],
    ["tasks", "create"],
    ["services", "logs"],
    ["services", "logs", "web", "--lines", "x"],
    ["services", "logs", "web", "--follow"],
    ["tasks", "create", "x", "--expire"],
    ["tasks", "run", "x"],
  ]) {
    test(`wrong usage: sprite-env ${args.join(" ")}`, async () => {
      const result = await sprite.run(args);
      assert.equal(result.exitCode, 2);
      assert.equal(result.stdout, "");
      assert.notEqual(result.stderr, "");
      assert.deepEqual(sprite.seen, []);
    });
  }

  test("a service's log is printed, also when the service speaks of errors", async () => {
    const line = '{"type":"stdout","data":"{\\"type\\":\\"error\\"}","timestamp":1}\n';
    sprite.answer = { status: 200, parts: [line, '{"type":"complete","timestamp":2}\n'] };
    const result = await sprite.run([
      "services",
      "logs",
      "web",
      "--lines",
      "5",
      "--duration",
      "1s",
    ]);
    assert.equal(result.exitCode, 0, result.stderr);
    assert.equal(sprite.seen[0]?.url, "/v1/services/web/logs?lines=5&duration=1s");
    await sprite.run(["services", "logs", "web"]);
    assert.equal(sprite.seen[1]?.url, "/v1/services/web/logs");
  });

  test("tasks are started, extended, listed and ended", async () => {
    const task = '{"name":"build \\"7\\"","started_at":"x","expires_at":"x"}';
    sprite.answer = { status: 201, parts: [task] };
    const started = await sprite.run(["tasks", "create", 'build "7"', "--expire", "30m"]);
    assert.deepEqual(started, { exitCode: 0, stdout: `${task}\n`, stderr: "" });
    await sprite.run(["tasks", "extend", "build"]);
    await sprite.run(["tasks", "list"]);
    await sprite.run(["tasks", "get", "a/b"]);
    sprite.answer = { status: 204, parts: [] };
    const ended = await sprite.run(["tasks", "delete", "build"]);
    assert.equal(ended.stdout, "Ended task build.\n");
    assert.deepEqual(
      sprite.seen.map(({ method, url, body }) => `${method} ${url} ${body}`.trimEnd()),
      [
        'POST /v1/tasks {"name":"build \\"7\\"","expire":"30m"}',
        'PUT /v1/tasks {"name":"build"}',
        "GET /v1/tasks",
        "GET /v1/tasks/%61%2F%62",
        "DELETE /v1/tasks/build",
      ],
    );
  });

  test("tasks run holds the sprite while a command runs, and returns its exit code", async () => {
    sprite.answer = { status: 200, parts: ['{"name":"build"}'] };
    const script = "echo out; echo err >&2; /.sprite/bin/busybox cat; exit 7";
    const command = ["/.sprite/bin/busybox", "sh", "-c", script];
    const result = await sprite.run(["tasks", "run", "build", ...command], { stdin: "in" });
    assert.equal(result.exitCode, 7);
    assert.equal(result.stdout, "out\nin");
    // Of the shell, which has no /dev/null here, something can come in the middle of its line.
    assert.match(result.stderr, /err$/m);
    assert.deepEqual(
      sprite.seen.map(({ method, url, body }) => `${method} ${url} ${body}`.trimEnd()),
      ['PUT /v1/tasks/build {"expire":900}', "DELETE /v1/tasks/build"],
    );
  });

  test("tasks run runs nothing when the sprite cannot be held", async () => {
    sprite.answer = { status: 409, parts: ['{"error":"conflict"}'] };
    const result = await sprite.run(["tasks", "run", "build", "/.sprite/bin/busybox", "echo", "x"]);
    assert.equal(result.exitCode, 1);
    assert.equal(result.stdout, "");
    assert.match(result.stderr, /409/);
  });

  test("everything that llm.txt tells agents to type is understood, and reaches the sprite", async () => {
    const text = readFileSync(new URL("llm.txt", import.meta.url), "utf8");
    const lines = [
      ...text.matchAll(/^ {4}sprite-env (.+)$/gm),
      ...text.matchAll(/`sprite-env ([^`]+)`/g),
    ];
    assert.ok(lines.length > 15);
    sprite.answer = { status: 200, parts: ["{}"] };
    for (const [, line = ""] of lines) {
      // Behind three blanks it says what for.
      const words = line.replace(/ {3,}.*$/, "").match(/"[^"]*"|'[^']*'|\S+/g) ?? [];
      const args = words.map((word) => word.replace(/^(["'])(.*)\1$/, "$2"));
      sprite.seen.length = 0;
      const { exitCode, stderr } = await sprite.run(args);
      assert.notEqual(exitCode, 2, `${line}: ${stderr}`);
      assert.notEqual(sprite.seen.length, 0, line);
    }
  });

  test("help is on stdout", async () => {
    const result = await sprite.run(["--help"]);
    assert.equal(result.exitCode, 0);
    assert.match(result.stdout, /checkpoints create/);
  });
});
