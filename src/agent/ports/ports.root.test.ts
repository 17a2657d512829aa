import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { SpritesClient } from "@fly/sprites";

import { waitUntil } from "../../base/wait.ts";
import { attachExec, openExec, openPort, startTestAgent, type TestAgent } from "../api/testing.ts";
import type { ExecClient } from "../api/testing.ts";
import { ControlClient } from "../control-connection/testing.ts";

let agent: TestAgent;
before(async () => {
  agent = await startTestAgent();
});
after(() => agent[Symbol.asyncDispose]());

/** Listens until it reads a line, and then closes its socket and goes on. */
const listener = (port: number, address = "127.0.0.1") => `
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in "${address}" else socket.AF_INET)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("${address}", ${port})); s.listen()
print("listening", flush=True)
sys.stdin.readline()
s.close()
print("closed", flush=True)
sys.stdin.readline()
`;

function python(script: string, more: Record<string, string> = {}): ExecClient {
  return openExec(agent, { cmd: ["python3", "-c", script], stdin: "true", ...more });
}

function notices(client: ExecClient): string[] {
  return client
    .texts()
    .filter(({ type }) => String(type).startsWith("port_"))
    .map(({ type, port, address }) => `${String(type)} ${String(address)} ${String(port)}`);
}

async function until(condition: () => boolean, what: () => unknown): Promise<void> {
  assert.ok(await waitUntil(condition, { timeoutMs: 30_000 }), JSON.stringify(what()));
}

test("a command's client hears of the ports that the command opens and closes", async () => {
  const other = python("import sys; sys.stdin.readline()");
  const client = python(listener(3101));
  await until(
    () => notices(client).length === 1,
    () => client.frames,
  );
  assert.deepEqual(client.texts()[1], {
    ...{ type: "port_opened", port: 3101, address: "127.0.0.1", pid: Number(client.sessionId) },
  });
  client.send(0, "close\n");
  await until(
    () => notices(client).length === 2,
    () => client.texts(),
  );
  assert.deepEqual(notices(client)[1], "port_closed 127.0.0.1 3101");
  client.send(0, "end\n");
  other.send(0, "end\n");
  assert.equal((await client.closed).code, 1000);
  await other.closed;
  assert.deepEqual(notices(other), []);
});

test("the right command is told: of a grandchild's port, and of a daemon's that has left its parents", async () => {
  const hold = (port: number, address: string) =>
    `import socket, time; s = socket.create_server(("${address}", ${port})); time.sleep(600)`;
  const shell = (script: string) => openExec(agent, { cmd: ["bash", "-c", script] });
  const tree = shell(`(python3 -c '${hold(3102, "127.0.0.1")}' & wait)`);
  const daemon = shell(`(python3 -c '${hold(3103, "0.0.0.0")}' > /dev/null 2>&1 &); sleep 60`);
  await until(
    () => notices(tree).length > 0 && notices(daemon).length > 0,
    () => [tree.texts(), daemon.texts()],
  );
  assert.equal(notices(tree)[0], "port_opened 127.0.0.1 3102");
  assert.equal(notices(daemon)[0], "port_opened 0.0.0.0 3103");
  // A server that is killed closes its port as well.
  await agent.container.runAsRoot(["pkill", "-9", "-f", "3102"]);
  await agent.container.runAsRoot(["pkill", "-9", "-f", "3103"]);
  await until(
    () => notices(daemon).includes("port_closed 0.0.0.0 3103"),
    () => daemon.texts(),
  );
  agent.sessions.get(daemon.sessionId).signal("SIGKILL");
  await daemon.closed;
  await tree.closed;
});

test("who attaches to a command hears of its open ports, and a control connection does too", async () => {
  const client = python(listener(3104), { max_run_after_disconnect: "1m" });
  await until(
    () => notices(client).length === 1,
    () => client.texts(),
  );
  const second = attachExec(agent, client.sessionId);
  await until(
    () => notices(second).length === 1,
    () => second.texts(),
  );
  // All leave; while nobody watches nothing is looked at, and who comes back is told again.
  client.socket.terminate();
  second.socket.terminate();
  await until(
    () => !agent.connections.portWatch.isRunning,
    () => "the watch goes on",
  );
  const control = new ControlClient(agent);
  await control.opened;
  control.start({ id: client.sessionId });
  const lines = await control.until((line) => line.includes("port_opened"));
  assert.match(lines.at(-1) ?? "", /"port":3104,"address":"127.0.0.1"/);
  control.socket.send(Buffer.from("\x00close\n"));
  await control.until((line) => line.includes("port_closed"));
  control.socket.send('{"type":"signal","signal":"KILL"}');
  await control.untilEnd();
  control.socket.close();
});

test("the official client watches ports: those that are open, and those that open and close", async () => {
  const early = python(listener(3105));
  await until(
    () => early.stream(1).includes("listening"),
    () => early.frames,
  );
  const { url, server } = await openPort(agent);
  const watcher = await new SpritesClient("token", { baseURL: url }).sprite("s1").watchPorts();
  try {
    const list = await watcher.next();
    assert.equal(list?.type, "port_list");
    const pid = Number(early.sessionId);
    assert.deepEqual(list, {
      type: "port_list",
      ports: [{ type: "port_opened", port: 3105, address: "127.0.0.1", pid }],
    });
    const late = python(listener(3106));
    const opened = await watcher.next();
    assert.deepEqual(opened, {
      ...{ type: "port_opened", port: 3106, address: "127.0.0.1", pid: Number(late.sessionId) },
    });
    early.send(0, "close\n");
    assert.deepEqual(await watcher.next(), {
      ...{ type: "port_closed", port: 3105, address: "127.0.0.1", pid },
    });
    for (const client of [early, late]) {
      agent.sessions.get(client.sessionId).signal("SIGKILL");
      await client.closed;
    }
    assert.equal((await watcher.next())?.type, "port_closed");
  } finally {
    watcher.close();
    server.close();
  }
});

test("a guest with 3,000 listening sockets gets no more than a bounded look", async () => {
  const many = python(`
import socket, sys
held = []
for n in range(3000):
    s = socket.socket(); s.bind(("127.0.0.1", 10000 + n)); s.listen(); held.append(s)
print("listening", flush=True)
sys.stdin.readline()
`);
  await until(
    () => many.stream(1).includes("listening"),
    () => many.stream(2).toString(),
  );
  const start = performance.now();
  const ports = agent.connections.portWatch.portsNow();
  const tookMs = performance.now() - start;
  assert.ok(ports.length <= 1024, String(ports.length));
  assert.ok(tookMs < 5_000, `${tookMs} ms`);
  many.send(0, "end\n");
  await many.closed;
});

test("when the last command has ended nothing is looked at any more", async () => {
  await until(
    () => !agent.connections.portWatch.isRunning && agent.sessions.list().length === 0,
    () => agent.sessions.list(),
  );
  const { network } = agent.container;
  const original = network.listeningSockets.bind(network);
  let looks = 0;
  network.listeningSockets = () => {
    looks += 1;
    return original();
  };
  const client = openExec(agent, { cmd: ["sleep", "0.3"] });
  await client.closed;
  assert.ok(!agent.connections.portWatch.isRunning);
  const looksThen = looks;
  assert.ok(looksThen > 0);
  assert.equal(await waitUntil(() => looks > looksThen, { timeoutMs: 700 }), false);
  network.listeningSockets = original;
});
