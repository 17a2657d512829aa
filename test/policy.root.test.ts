/** Policies on a running sprite, set by the official client, against an internet that leads nowhere. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Sprite } from "@fly/sprites";
import { waitUntil } from "../src/base/wait.ts";
import { createInternet, otherAddress, publicName, type Internet } from "./support/internet.ts";
import { childrenOf } from "./support/processes.ts";
import { TestServer } from "./support/server.ts";

let internet: Internet;
let server: TestServer;
let sprite: Sprite;

before(async () => {
  internet = await createInternet();
  server = await TestServer.start({
    uplink: internet.uplink,
    arguments: ["--memory-max", "512M", "--pids-max", "500"],
  });
  sprite = await server.client().createSprite("bound");
});
after(async () => {
  await server?.close();
  await internet?.close();
});

async function shell(script: string, of: Sprite = sprite): Promise<string> {
  return String((await of.execFile("sh", ["-c", script])).stdout).trim();
}

/** "200", or curl's number for what went wrong: 6 no such name, 7 refused. */
async function fetchCode(host: string, of: Sprite = sprite): Promise<string> {
  const curl = `curl -s -o /dev/null -w '%{http_code}' --max-time 8 http://${host}/`;
  return await shell(`${curl} || echo " $?"`, of);
}

async function call(method: string, path: string, body?: unknown): Promise<Response> {
  const init = body === undefined ? { method } : { method, body: JSON.stringify(body) };
  return await server.request(`/v1/sprites/${path}`, init);
}

const onlyPublic = { rules: [{ domain: publicName, action: "allow" as const }] };

test("contract 16.1: setting a policy answers 204", async () => {
  for (const [kind, body] of [
    ["network", { rules: [] }],
    ["privileges", {}],
    ["resources", {}],
  ] as const) {
    assert.equal((await call("POST", `bound/policy/${kind}`, body)).status, 204, kind);
  }
});

test("a network policy holds at once, shows inside, and no guest changes what it sees", async () => {
  assert.equal(await fetchCode("other.example.test"), "200");
  await sprite.updateNetworkPolicy(onlyPublic);
  assert.equal(await fetchCode(publicName), "200");
  assert.match(await fetchCode("other.example.test"), / 6$/);
  assert.match(await fetchCode(otherAddress), / 7$/);
  assert.deepEqual(JSON.parse(await shell("cat /.sprite/policy/network.json")), onlyPublic);
  const write = "echo '{}' | sudo tee /.sprite/policy/network.json; sudo rm /.sprite/policy/*";
  await shell(`${write} || true`);
  assert.deepEqual(JSON.parse(await shell("cat /.sprite/policy/network.json")), onlyPublic);
});

test("a program that only waits for what is forbidden now hears of it", async () => {
  await sprite.updateNetworkPolicy({ rules: [] });
  const waiting = sprite.execFile("python3", [
    "-c",
    `import socket; s = socket.create_connection(("other.example.test", 4444)); s.sendall(b"x"); s.recv(1)
open("/tmp/connected", "w").close()
try: s.recv(1); print("end")
except OSError as error: print(type(error).__name__)`,
  ]);
  await shell("for n in $(seq 300); do test -e /tmp/connected && exit; sleep 0.1; done; exit 1");
  await sprite.updateNetworkPolicy(onlyPublic);
  assert.match(String((await waiting).stdout), /^Connection(Aborted|Reset)Error$/m);
});

test("a policy outlives a restart, a restore, the agent's death and the server", async () => {
  const holds = async (why: string): Promise<void> => {
    assert.match(await fetchCode("other.example.test"), / 6$/, why);
    assert.equal(await fetchCode(publicName), "200", why);
  };
  await sprite.updateNetworkPolicy({ rules: [] });
  const made = await (await call("POST", "bound/checkpoint")).text();
  assert.match(made, /"complete"/);
  await sprite.updateNetworkPolicy(onlyPublic);
  assert.equal((await call("POST", "bound/restart")).status, 200);
  await holds("after a restart");
  assert.match(await (await call("POST", "bound/checkpoints/v0/restore")).text(), /"complete"/);
  await holds("after a restore from before the policy");
  const [agent] = await childrenOf(server.places, "sprite");
  assert.ok(agent);
  process.kill(agent.pid, "SIGKILL");
  const isReplaced = async (): Promise<boolean> => {
    const [next] = await childrenOf(server.places, "sprite");
    return next !== undefined && next.pid !== agent.pid && (await call("GET", "bound/check")).ok;
  };
  assert.ok(await waitUntil(isReplaced, { timeoutMs: 40_000 }));
  await holds("after the agent's death");
  await server.stop();
  await server.startProcess();
  sprite = server.client().sprite("bound");
  await holds("after the server's restart");
  const agents = await childrenOf(server.places, "sprite");
  await server.kill();
  await server.startProcess();
  sprite = server.client().sprite("bound");
  await holds("after the server's death");
  assert.deepEqual(await childrenOf(server.places, "sprite"), agents);
});

test("a limit of memory holds at once, both ways", async () => {
  const eat = (mb: number): Promise<unknown> =>
    sprite.execFile("python3", ["-c", `x = bytearray(${mb} * 2**20); print(len(x))`]);
  await eat(300);
  await sprite.updateResourcesPolicy({ memory: { limitMB: 200 } });
  await assert.rejects(eat(300), { exitCode: 137 });
  await eat(100);
  await sprite.deleteResourcesPolicy();
  await eat(300);
  const keep = sprite.spawn("python3", ["-c", "x = bytearray(300 * 2**20); print('x'); input()"]);
  keep.on("error", () => undefined);
  await new Promise<void>((resolve) => keep.stdout.once("data", () => resolve()));
  const refused = await call("POST", "bound/policy/resources", { memory: { limit_mb: 100 } });
  assert.equal(refused.status, 409, await refused.text());
  assert.deepEqual(await (await call("GET", "bound/policy/resources")).json(), {});
  keep.kill("SIGKILL");
});

test("limits of processes and processors hold at once, and at the next start", async () => {
  const limits = { pids: { limit: 60 }, cpu: { limit_cores: 0.5 } };
  assert.equal((await call("POST", "bound/policy/resources", limits)).status, 204);
  const bomb = `
import os, time, signal
children = []
try:
    for n in range(200):
        child = os.fork()
        if child == 0: time.sleep(20); os._exit(0)
        children.append(child)
except OSError: print("limited", len(children) < 60)
for child in children: os.kill(child, signal.SIGKILL)
`;
  assert.equal(
    String((await sprite.execFile("python3", ["-c", bomb])).stdout).trim(),
    "limited True",
  );
  assert.equal((await call("POST", "bound/restart")).status, 200);
  assert.equal(
    String((await sprite.execFile("python3", ["-c", bomb])).stdout).trim(),
    "limited True",
  );
  await sprite.deleteResourcesPolicy();
});

test("privileges count from the next start, and until then say that they wait", async () => {
  const policy = { profile: "minimal" as const, devices: ["null"], noNewPrivileges: true };
  await sprite.updatePrivilegesPolicy(policy);
  assert.deepEqual(await sprite.getPrivilegesPolicy(), { ...policy, pendingRestart: true });
  assert.equal(await shell("sudo id -u"), "0", "as it was, until then");
  assert.equal((await call("POST", "bound/restart")).status, 200);
  assert.deepEqual(await sprite.getPrivilegesPolicy(), policy);
  await assert.rejects(shell("sudo id -u"));
  assert.match(await shell("grep NoNewPrivs /proc/self/status"), /1$/);
  assert.equal(await shell("head -c 4 /dev/zero | wc -c"), "0", "a device that is not on the list");
  const raw = "import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)";
  await assert.rejects(sprite.execFile("python3", ["-c", raw]));
  await sprite.deletePrivilegesPolicy();
  assert.equal((await call("POST", "bound/restart")).status, 200);
  assert.equal(await shell("sudo id -u"), "0");
  assert.equal(await shell("head -c 4 /dev/zero | wc -c"), "4");
});
