/** What goes wrong with services, and what guests do to them. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { waitUntil } from "../../base/wait.ts";
import { listenMsMax } from "./limits.ts";
import { eventsOf, startTestServices, type TestServices } from "./testing.ts";

const waitMs = 40_000;
let box: TestServices;
before(async () => {
  box = await startTestServices();
});
after(async () => box[Symbol.asyncDispose]());

const sh = (script: string): { cmd: string; args: string[] } => ({
  cmd: "sh",
  args: ["-c", script],
});
const types = (events: readonly { type: string }[]): string[] => events.map(({ type }) => type);

async function create(name: string, config: object, duration = "0s"): Promise<string[]> {
  const stream = box.sprite.createService(name, config as { cmd: string }, duration);
  return types(await eventsOf(stream));
}

async function until(condition: () => Promise<boolean>, what: string): Promise<void> {
  assert.ok(await waitUntil(condition, { timeoutMs: waitMs }), what);
}

async function state(name: string): Promise<Record<string, unknown>> {
  return { ...(await box.sprite.getService(name)).state };
}

test("contract 16.1: a deleted or signalled service answers 204, streams 200", async () => {
  const put = await box.request("PUT", "/services/a?duration=0", sh("exec sleep 1000"));
  assert.deepEqual([put.status, put.headers["content-type"]], [200, "application/x-ndjson"]);
  const signal = await box.request("POST", "/services/signal", { name: "a", signal: "CONT" });
  assert.deepEqual([signal.status, signal.body], [204, ""]);
  for (const verb of ["start", "restart", "stop"]) {
    assert.equal((await box.request("POST", `/services/a/${verb}?duration=0`)).status, 200);
  }
  assert.equal((await box.request("GET", "/services/a/logs")).status, 200);
  assert.equal((await box.request("DELETE", "/services/a")).status, 204);
});

test("contract 15.9: the list is a bare array", async () => {
  const { body, headers } = await box.request("GET", "/services");
  assert.deepEqual([body, headers["content-type"]], ["[]", "application/json"]);
});

test("what is refused, and how", async () => {
  await create("web", { ...sh("exec sleep 1000"), httpPort: 3000 });
  await create("app", { ...sh("exec sleep 1000"), needs: ["web"] });
  const cases: [string, string, unknown, number, RegExp][] = [
    ["PUT", "/services/b", {}, 400, /cmd: missing/],
    ["PUT", "/services/b%2F..", { cmd: "x" }, 400, /service's name/],
    ["PUT", "/services/b?duration=soon", { cmd: "x" }, 400, /duration/],
    ["PUT", "/services/b", { cmd: "x", needs: ["nobody"] }, 400, /no service nobody/],
    ["PUT", "/services/b", { cmd: "x", needs: ["b"] }, 400, /circle: b needs b/],
    ["PUT", "/services/web", { cmd: "x", needs: ["app"] }, 400, /circle: web needs app needs web/],
    [
      "PUT",
      "/services/b",
      { cmd: "x", http_port: 3001 },
      409,
      /another service already has an HTTP port configured/,
    ],
    ["GET", "/services/nobody", undefined, 404, /not found/],
    ["DELETE", "/services/nobody", undefined, 404, /not found/],
    ["DELETE", "/services/web", undefined, 409, /needed by app/],
    ["POST", "/services/nobody/start", undefined, 404, /not found/],
    ["POST", "/services/nobody/stop", undefined, 404, /not found/],
    ["POST", "/services/nobody/restart", undefined, 404, /not found/],
    ["GET", "/services/nobody/logs", undefined, 404, /not found/],
    ["GET", "/services/web/logs?lines=x", undefined, 400, /lines/],
    ["POST", "/services/signal", { name: "web", signal: "NOPE" }, 400, /signal/],
    ["POST", "/services/signal", { name: "nobody", signal: "TERM" }, 404, /not found/],
  ];
  for (const [method, path, body, status, message] of cases) {
    const answer = await box.request(method, path, body);
    assert.equal(answer.status, status, `${method} ${path}: ${answer.body}`);
    assert.match(answer.body, message);
  }
  assert.deepEqual(
    (await box.sprite.listServices()).map(({ name }) => name),
    ["web", "app"],
  );
});

test("what is needed is started first, and stops last", async () => {
  const script = (name: string): string =>
    `trap 'echo -${name} >> /home/sprite/order; exit' TERM; echo +${name} >> /home/sprite/order; ` +
    "while :; do sleep 0.02; done";
  await create("web", { ...sh(script("web")), httpPort: 3000 });
  await create("app", { ...sh(script("app")), needs: ["web"] });
  await until(
    async () => (await box.shell("wc -l < /home/sprite/order || true")) === "2",
    "started",
  );
  await box.restart();
  await until(async () => (await box.shell("wc -l < /home/sprite/order")) === "6", "started again");
  const order = await box.shell("tail -n +3 /home/sprite/order | tr '\\n' ' '");
  assert.equal(order, "-app -web +web +app");
  await box.sprite.deleteService("app");
  await box.sprite.deleteService("web");
});

test("the same definition leaves it running, another one replaces it", async () => {
  await create("same", sh("exec sleep 1000"));
  const { pid } = await state("same");
  assert.deepEqual(await create("same", sh("exec sleep 1000")), ["started", "complete"]);
  assert.equal((await state("same"))["pid"], pid);
  const replaced = await create("same", sh("exec sleep 1001"));
  assert.deepEqual(replaced, ["stopping", "stopped", "started", "complete"]);
  assert.notEqual((await state("same"))["pid"], pid);
  const restarted = await eventsOf(box.sprite.restartService("same", "0s"));
  assert.deepEqual(types(restarted), ["stopping", "stopped", "started", "complete"]);
  await box.sprite.deleteService("same");
});

test("one that does not listen to SIGTERM is killed, with all of its children and daemons", async () => {
  const script = `trap '' TERM
    sleep 3001 & (setsid sleep 3002 &) & setsid sh -c 'trap "" TERM; exec sleep 3003 >/dev/null 2>&1' &
    echo up; while :; do sleep 0.05; done`;
  await create("stubborn", sh(script));
  await until(async () => (await logOf("stubborn")).includes("up\n"), "it is up");
  const children = (): Promise<string> => box.shell("pgrep -c -f '^sleep 300[0-9]' || true");
  await until(async () => (await children()) === "3", "its children are there");
  const events = await eventsOf(box.sprite.stopService("stubborn", "300ms"));
  assert.deepEqual(types(events), ["stopping", "stopped", "complete"]);
  assert.equal(events[1]?.exitCode, 137);
  assert.equal(await children(), "0");
  await box.sprite.deleteService("stubborn");
});

test("children of one that is stopped have their time to end in order", async () => {
  const child = `trap 'sleep 0.3; echo child done; exit' TERM; echo up; while :; do sleep 0.02; done`;
  await create("parent", { ...sh('sh -c "$CHILD" & wait'), env: { CHILD: child } });
  await until(async () => (await logOf("parent")).includes("up\n"), "its child is there");
  const events = await eventsOf(box.sprite.stopService("parent", "10s"));
  const heard = types(events).filter((type) => type !== "stderr");
  assert.deepEqual(heard, ["stopping", "stdout", "stopped", "complete"]);
  await box.sprite.deleteService("parent");
});

test("a program that goes into the background and exits 0 is done, and leaves nothing", async () => {
  const events = await eventsOf(
    box.sprite.createService("daemon", sh("setsid sleep 3100 >&- 2>&- & sleep 0.1"), "5s"),
  );
  assert.deepEqual(types(events), ["started", "exit", "complete"]);
  const { status, exitCode } = JSON.parse(
    (await box.request("GET", "/services/daemon")).body,
  ).state;
  assert.deepEqual([status, exitCode], ["stopped", undefined]);
  await until(
    async () => (await box.shell("pgrep -c -f '^sleep 3100' || true")) === "0",
    "it is ended",
  );
  assert.equal((await state("daemon"))["restartCount"], 0);
  await box.sprite.deleteService("daemon");
});

test("a port is free again when its service is restarted, whoever inherited it", async () => {
  const server = `import http.server, os, sys
s = http.server.ThreadingHTTPServer(("127.0.0.1", 3456), http.server.SimpleHTTPRequestHandler)
if os.fork() == 0: os.setsid(); os.fork()
s.serve_forever()`;
  await create("http", { cmd: "python3", args: ["-c", server], httpPort: 3456 });
  assert.deepEqual(await box.services.ensureListening(3456), { name: "http", port: 3456 });
  const { pid } = await state("http");
  await box.shell(`kill -9 ${String(pid)}`);
  await until(
    async () =>
      (await state("http"))["status"] === "running" && (await state("http"))["pid"] !== pid,
    "restarted",
  );
  assert.deepEqual(await box.services.ensureListening(null), { name: "http", port: 3456 });
  assert.equal((await state("http"))["restartCount"], 1);
  const fetched =
    "python3 -c 'import urllib.request as u; print(u.urlopen(\"http://127.0.0.1:3456/\").status)'";
  assert.equal(await box.shell(fetched), "200");

  await eventsOf(box.sprite.stopService("http"));
  assert.deepEqual(await box.services.ensureListening(3456, { timeoutMs: listenMsMax }), {
    name: "http",
    port: 3456,
  });
  assert.equal(await box.services.ensureListening(1), null);
  await create("http", { cmd: "false", httpPort: 3456 });
  await assert.rejects(
    box.services.ensureListening(3456),
    /service http does not run: exited with code 1/,
  );
  await box.sprite.deleteService("http");
});

test("a signal that ends it counts as a crash, and one that does not is only passed on", async () => {
  await create(
    "signals",
    sh("trap 'echo usr1' USR1; trap 'exit 0' TERM; echo up; while :; do sleep 0.02; done"),
  );
  await until(async () => (await logOf("signals")).includes("up\n"), "it is up");
  const { pid } = await state("signals");
  await box.sprite.signalService("signals", "SIGUSR1");
  await until(async () => (await logOf("signals")).includes("usr1\n"), "it heard of it");
  assert.equal((await state("signals"))["pid"], pid);
  await box.sprite.signalService("signals", "term");
  await until(async () => (await state("signals"))["restartCount"] === 1, "started again");
  await box.sprite.deleteService("signals");
});

test("calls on one service at the same time have one truthful end each", async () => {
  await create("busy", sh("exec sleep 1000"));
  const starting = eventsOf(box.sprite.createService("busy", sh("exec sleep 1002"), "20s"));
  const calls = await Promise.all([
    eventsOf(box.sprite.restartService("busy", "0s")),
    eventsOf(box.sprite.startService("busy", "0s")),
    eventsOf(box.sprite.restartService("busy", "0s")),
  ]);
  for (const events of calls) {
    assert.equal(events.at(-1)?.type, "complete");
    assert.ok(types(events).includes("started"), types(events).join());
  }
  await box.sprite.deleteService("busy");
  const seen = types(await starting);
  assert.deepEqual(seen.slice(-2), ["stopped", "complete"]);
  assert.equal(await box.shell("pgrep -c -f '^sleep 100[0-9]' || true"), "0");
});

test("a damaged file of services is told, kept, and used as far as it goes", async () => {
  await create("kept", sh("exec sleep 1000"));
  await box.services.end();
  await box.shell(`cd /home/sprite/state && python3 - <<'END'
import json
file = json.load(open("services.json"))
file["services"].append({"name": "../bad", "cmd": "x"})
json.dump(file, open("services.json", "w"))
END`);
  await box.restart();
  const list = await box.request("GET", "/services");
  assert.deepEqual(
    (JSON.parse(list.body) as { name: string }[]).map(({ name }) => name),
    ["kept"],
  );
  assert.match(
    String(list.headers["x-sprite-services-problem"]),
    /damaged.*bad.*kept%20as|damaged.*bad.*kept as/,
  );
  assert.match(await box.shell("cat /home/sprite/state/services.json.damaged-*"), /\.\.\/bad/);

  for (const wreck of [
    "echo '{' > services.json",
    "rm services.json; mkdir services.json",
    "rm -rf services.json; mkfifo services.json",
    "rm services.json; ln -s /dev/zero services.json",
  ]) {
    await box.services.end();
    await box.shell(`cd /home/sprite/state && rm -rf *.damaged* && ${wreck}`);
    await box.restart();
    assert.deepEqual(await box.sprite.listServices(), [], wreck);
    assert.equal(await box.shell("ls -d /home/sprite/state/*.damaged* | wc -l"), "1", wreck);
  }
});

test("a log is cut into files, read from both, and followed", async () => {
  const script = `i=0; while [ $i -lt 6000 ]; do i=$((i + 1)); echo "line $i ${"x".repeat(1000)}"; done; echo last; exec sleep 1000`;
  await create("chatty", sh(script));
  await until(async () => (await logOf("chatty", 1)).at(-1) === "last\n", "all of it is there");
  const sizes = (await box.shell("stat -c %s /home/sprite/logs/services/chatty.log*"))
    .split("\n")
    .map(Number);
  assert.equal(sizes.length, 2);
  assert.ok(
    sizes.every((size) => size <= 5 * 1024 * 1024),
    sizes.join(),
  );
  const lines = (await logOf("chatty", 1_501)).map((line) => Number(line.split(" ")[1]));
  assert.deepEqual(
    lines.slice(0, -1),
    Array.from({ length: 1_500 }, (_, index) => 4_501 + index),
  );

  const follow = await eventsOf(
    box.sprite.getServiceLogs("chatty", { lines: 1, duration: "300ms" }),
  );
  assert.deepEqual(types(follow), ["stdout", "complete"]);
  await box.sprite.deleteService("chatty");
});

test("what is written while somebody follows is told once, in order", async () => {
  const script = 'i=0; while :; do i=$((i + 1)); echo "$i"; sleep 0.005; done';
  await create("counter", sh(script));
  await until(async () => (await logOf("counter")).length >= 30, "it counts");
  const events = await eventsOf(
    box.sprite.getServiceLogs("counter", { lines: 20, duration: "800ms" }),
  );
  const numbers = events.flatMap(({ type, data }) => (type === "stdout" ? [Number(data)] : []));
  assert.ok(numbers.length > 20, String(numbers.length));
  assert.deepEqual(
    numbers,
    Array.from(numbers, (_, index) => (numbers[0] ?? 0) + index),
  );
  // The guest ends the process that writes the logs: what is lost is told, and the log goes on.
  await box.shell("pkill -9 -f 'read -r name byte[s]'");
  const highest = async (): Promise<number> => {
    const counted = (await logOf("counter", 20)).map(Number);
    return Math.max(0, ...counted.filter((number) => !Number.isNaN(number)));
  };
  const before = await highest();
  await until(async () => (await highest()) > before, "it goes on");
  await box.sprite.deleteService("counter");
});

test("a hundred services at once", async () => {
  await box.services.end();
  await box.shell(`python3 - <<'END'
import json
services = [{"name": f"many-{n}", "cmd": "sleep", "args": ["4000"], "needs": [f"many-{n - n % 10}"] if n % 10 else []} for n in range(100)]
json.dump({"version": 1, "services": services}, open("/home/sprite/state/services.json", "w"))
END`);
  const all = async (): Promise<boolean> => {
    const services = await box.sprite.listServices();
    return services.filter((service) => service.state?.status === "running").length === 100;
  };
  // A service runs a moment before its program has been loaded.
  const areHundred = async (): Promise<boolean> =>
    (await box.shell("pgrep -c -f '^sleep 4000' || true")) === "100";
  await box.restart();
  await until(all, "all run");
  const start = performance.now();
  await box.restart();
  await until(all, "all run again");
  process.stdout.write(
    `# 100 services ended and started: ${Math.round(performance.now() - start)} ms\n`,
  );
  await until(areHundred, "each is one process");
  const restarts = Array.from({ length: 20 }, async (_, index) => {
    return types(await eventsOf(box.sprite.restartService(`many-${index}`, "0s")));
  });
  for (const events of await Promise.all(restarts)) {
    assert.deepEqual(events, ["stopping", "stopped", "started", "complete"]);
  }
  await until(areHundred, "each is one process");
});

test("where nothing can be kept, that is said, and a stop stops all the same", async () => {
  await box.shell("chmod 500 /home/sprite/state");
  const refused = await box.request("PUT", "/services/new", { cmd: "x" });
  assert.equal(refused.status, 500);
  assert.match(refused.body, /"storage_failure".*cannot be kept.*Permission denied/);
  const events = await eventsOf(box.sprite.stopService("many-1"));
  assert.deepEqual(types(events), ["stopping", "stopped", "error", "complete"]);
  assert.match(events[2]?.data ?? "", /Permission denied/);
  assert.equal((await state("many-1"))["status"], "stopped");
  await box.shell("chmod 700 /home/sprite/state");
});

async function logOf(name: string, lines = 100): Promise<string[]> {
  const events = await eventsOf(box.sprite.getServiceLogs(name, { lines }));
  return events.flatMap(({ data }) => data ?? []);
}
