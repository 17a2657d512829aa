/** What a sprite cannot do: see or reach another, the server, the machine. And what it can: the internet, here a stand-in. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { access } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import type { Sprite } from "@fly/sprites";
import {
  createInternet,
  metadataAddress,
  publicAddress,
  publicName,
  type Internet,
} from "./support/internet.ts";
import { spriteRunDirectory } from "../src/worker/places.ts";
import { TestServer } from "./support/server.ts";

let internet: Internet;
let server: TestServer;
let one: Sprite;
let two: Sprite;

before(async () => {
  internet = await createInternet();
  server = await TestServer.start({
    uplink: internet.uplink,
  });
  [one, two] = (await Promise.all(
    ["one", "two"].map((name) => server.client().createSprite(name)),
  )) as [Sprite, Sprite];
});
after(async () => {
  await server?.close();
  await internet?.close();
});

async function shell(sprite: Sprite, script: string): Promise<string> {
  return String((await sprite.execFile("sh", ["-c", script])).stdout);
}

test("users of the machine reach neither the agent nor the API inside", async () => {
  const { id } = (await (await server.request("/v1/sprites/one")).json()) as { id: string };
  const runDirectory = spriteRunDirectory(server.places, id);
  const sockets = ["agent.sock", "private/dot-sprite/api.sock"];
  for (const socket of sockets.map((name) => join(runDirectory, name))) {
    await access(socket);
    const asNobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
    const refused = promisify(execFile)("setpriv", [...asNobody, "test", "-w", socket]);
    await assert.rejects(refused, { code: 1 });
  }
});

/** Tries a TCP connection from inside; "connected" or how it failed. */
async function connect(sprite: Sprite, host: string, port: number): Promise<string> {
  const code = `
import socket
try:
    socket.create_connection(("${host}", ${port}), timeout=3).close(); print("connected")
except OSError as error:
    print(type(error).__name__)
`;
  return String((await sprite.execFile("python3", ["-c", code])).stdout).trim();
}

async function addressOf(sprite: Sprite): Promise<string> {
  const out = await shell(sprite, "ip -4 -o addr show dev eth0");
  const address = /inet (\S+?)\//.exec(out)?.[1];
  assert.ok(address, out);
  return address;
}

test("names resolve and the internet answers", async () => {
  const out = await shell(one, `curl -sS --max-time 15 http://${publicName}/`);
  assert.match(out, /^hello .* from 198\.51\.100\.10$/m);
});

test("a name that does not exist fails at once, and says so", async () => {
  // A resolver that says nothing is waited for 5 s.
  const start = performance.now();
  const code =
    "import socket\ntry: socket.getaddrinfo('nowhere.test', 80)\nexcept socket.gaierror: print('no')";
  assert.equal(String((await one.execFile("python3", ["-c", code])).stdout), "no\n");
  assert.ok(performance.now() - start < 4_800);
});

test("one sprite cannot reach another", async () => {
  const address = await addressOf(two);
  const listening = two.spawn("python3", ["-m", "http.server", "9000", "--bind", "0.0.0.0"]);
  listening.on("error", () => undefined);
  await shell(
    two,
    "for n in $(seq 50); do curl -s -o /dev/null http://127.0.0.1:9000/ && exit 0; sleep 0.1; done; exit 1",
  );
  assert.notEqual(await connect(one, address, 9000), "connected");
  listening.kill("SIGKILL");
});

test("a sprite cannot take another's address", async () => {
  const address = await addressOf(two);
  const out = await shell(one, `sudo ip address add ${address}/32 dev eth0 2>&1; echo $?`);
  assert.match(out, /not permitted|2$/m);
});

test("the server, the machine's loopback and metadata are out of reach", async () => {
  const port = Number(new URL(server.url).port);
  const gateway = /default via (\S+)/.exec(await shell(one, "ip route"))?.[1];
  assert.ok(gateway);
  for (const host of ["127.0.0.1", gateway]) {
    assert.notEqual(await connect(one, host, port), "connected", host);
  }
  assert.notEqual(await connect(one, metadataAddress, 80), "connected");
  assert.equal(await connect(one, publicAddress, 80), "connected", "the stand-in does answer");
});

test("a sprite sees only its own processes, host name and mounts", async () => {
  const marker = two.spawn("sleep", ["987654"]);
  marker.on("error", () => undefined);
  const processes = await shell(one, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '");
  assert.ok(!processes.includes("987654"));
  assert.equal(await shell(one, "hostname"), "one\n");
  assert.ok(!(await shell(one, "cat /proc/mounts")).includes(server.dataDirectory));
  marker.kill("SIGKILL");
});

test("root inside is nobody outside", async () => {
  const attempts = [
    "mknod /tmp/disk b 254 0 && head -c 1 /tmp/disk",
    "echo 1 > /proc/sys/kernel/panic",
    "echo b > /proc/sysrq-trigger",
    "mount -t tmpfs none /mnt",
    "dmesg --read-clear",
    "modprobe dummy || insmod /tmp/x.ko",
    "echo $$ > /sys/fs/cgroup/memory/cgroup.procs || mkdir /sys/fs/cgroup/memory/escape",
    "chroot /proc/1/root ls /var/lib/opensprites",
    "nsenter -t 1 -m -u -i -n -p true && ls /work",
    "unshare -U true",
    "ip link add dummy0 type dummy",
    "hostname changed-from-inside",
  ];
  for (const attempt of attempts) {
    const run = one.execFile("sudo", ["sh", "-c", attempt]);
    await assert.rejects(run, `must fail: ${attempt}`);
  }
  const { stdout } = await one.execFile("cat", ["/proc/1/uid_map"]);
  const [inside, outside, count] = String(stdout).trim().split(/\s+/).map(Number);
  assert.deepEqual([inside, count], [0, 65_536]);
  assert.ok((outside ?? 0) >= 1_000_000_000);
});

test("two sprites have different host ids", async () => {
  const maps = await Promise.all([one, two].map((sprite) => shell(sprite, "cat /proc/1/uid_map")));
  assert.notEqual(maps[0], maps[1]);
});
