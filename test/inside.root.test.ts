/** What programs find inside: the socket, the tools of /.sprite, and what holds a sprite awake. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Sprite } from "@fly/sprites";
import { killAll, childrenOf } from "./support/processes.ts";
import { TestServer } from "./support/server.ts";
import type { TaskListObject, TaskObject } from "../src/contract/task.ts";
import { openExec } from "./support/websocket.ts";

let server: TestServer;
let sprite: Sprite;
before(async () => {
  server = await TestServer.start();
  sprite = await server.client().createSprite("box");
});
after(() => server?.close());

async function inside(script: string): Promise<string> {
  const { stdout } = await sprite.execFile("sh", ["-c", script]);
  return String(stdout);
}

async function taskNames(): Promise<string[]> {
  const response = await server.request("/v1/sprites/box/tasks");
  assert.equal(response.status, 200);
  return ((await response.json()) as TaskListObject).tasks.map(({ name }) => name);
}

test("a task that a program starts is seen from outside, and the other way round", async () => {
  const started = JSON.parse(
    // As the documentation of hosted sprites has it: no content type, a name of the host's own.
    await inside(`sprite-env curl -X POST /v1/tasks -d '{"name":"agent","expire":"30m"}'`),
  ) as TaskObject;
  const heldMs = Date.parse(started.expires_at) - Date.parse(started.started_at);
  assert.equal(heldMs, 30 * 60_000);
  assert.deepEqual(await taskNames(), ["agent"]);
  const body = JSON.stringify({ expire: 60 });
  const made = await server.request("/v1/sprites/box/tasks/from%20outside", {
    method: "PUT",
    body,
  });
  assert.equal(made.status, 200);
  assert.match(await inside("sprite-env tasks list"), /"from outside"/);

  const taken = await inside(
    `sprite-env curl -s -o /dev/null -w '%{http_code}' -X POST /v1/tasks -d '{"name":"agent"}'`,
  );
  assert.equal(taken, "409");
  const check = (await (await server.request("/v1/sprites/box/check")).json()) as {
    held_awake_by: object[];
  };
  assert.equal(check.held_awake_by.length, 2, "a check says why it is awake");
});

test("tasks survive an agent that is killed; ended ones stay ended", async () => {
  await inside("sprite-env tasks delete agent");
  const [agent] = await childrenOf(server.places, "sprite");
  assert.ok(agent);
  await killAll([agent]);
  assert.deepEqual(await taskNames(), ["from outside"]);
});

test("tasks end with the sprite's processes", async () => {
  await sprite.restart();
  assert.deepEqual(await taskNames(), []);
});

test("a task holds while its command runs", async () => {
  const during = await inside("sprite-env tasks run build sh -c 'sprite-env tasks list'");
  assert.match(during, /"name":"build"/);
  assert.equal(await inside("pgrep -f '[s]leep 300' || echo none"), "none\n");
  assert.deepEqual(await taskNames(), []);
});

test("everybody inside may use the socket, and nobody may replace it", async () => {
  const found = await inside(
    `stat -c '%A' /.sprite/api.sock
     curl -s --unix-socket /.sprite/api.sock http://anything/v1/tasks
     sudo rm -f /.sprite/api.sock 2>&1 || echo kept`,
  );
  assert.match(found, /^srw-rw-rw-\n\{"tasks":\[\]\}/);
  assert.match(found, /kept\n$/);
});

test("a program that opens a page asks the terminal that is attached", async () => {
  const { bytes, closed } = await openExec(server, "/v1/sprites/box/exec", [
    ["cmd", "python3"],
    ["cmd", "-c"],
    ["cmd", "import webbrowser; print(webbrowser.open('https://example.com/login?code=7'))"],
    ["tty", "true"],
  ]);
  await closed;
  const screen = bytes().toString("latin1");
  assert.ok(screen.includes("\x1b]7770;open;https://example.com/login?code=7\x1b\\"), screen);
  const plain = await inside("xdg-open https://example.com/a");
  assert.equal(plain, "Open this page: https://example.com/a\n");
  const evil = await inside(`xdg-open "$(printf 'https://a/\\033]0;x')" 2>&1 || echo $?`);
  assert.match(evil, /no address may have\n1\n$/);
});

test("sprite-console starts the shell of choice, and some shell whatever is broken", async () => {
  const first = await inside(`sprite-console --choose dash; echo 'echo $0' | sprite-console`);
  assert.equal(first, "/usr/bin/dash\n");
  await sprite.execFile("sudo", ["rm", "-rf", "/usr", "/etc"]);
  const query = "cmd=/.sprite/bin/sprite-console&stdin=true";
  const response = await server.request(`/v1/sprites/box/exec?${query}`, {
    method: "POST",
    body: "echo still here; sprite-env tasks list",
  });
  const output = await response.text();
  assert.match(output, /still here/);
  assert.match(output, /\{"tasks":\[\]\}/);
  assert.match(output, /To go back: sprite-env checkpoints list/);
});
