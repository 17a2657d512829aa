/**
 * What root inside a sprite tries to get out of it, or around what binds it: by name, each refused or contained. The
 * internet is a stand-in that leads nowhere, which it proves before the first packet.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { Sprite } from "@fly/sprites";
import { waitUntil } from "../src/base/wait.ts";
import { nameBudgetBytesMax, connectionsPerSpriteMax } from "../src/sandbox/egress/limits.ts";
import {
  createInternet,
  otherAddress,
  publicAddress,
  publicName,
  resolverAddress,
  type Internet,
} from "./support/internet.ts";
import { childrenOf } from "./support/processes.ts";
import { TestServer } from "./support/server.ts";

const program = readFileSync(join(import.meta.dirname, "support/hostile-guest.py"), "utf8");

let internet: Internet;
let server: TestServer;
let guest: Sprite;
let victim: Sprite;

async function shell(sprite: Sprite, script: string): Promise<string> {
  return String((await sprite.execFile("sh", ["-c", script])).stdout).trim();
}

async function asRoot(script: string): Promise<string> {
  return String((await guest.execFile("sudo", ["python3", "-c", script])).stdout).trim();
}

async function addressOf(sprite: Sprite): Promise<string> {
  const out = await shell(sprite, "ip -4 -o addr show dev eth0");
  const address = /inet (\S+?)\//.exec(out)?.[1];
  assert.ok(address, out);
  return address;
}

before(async () => {
  internet = await createInternet();
  server = await TestServer.start({
    uplink: internet.uplink,
    arguments: ["--pids-max", "300", "--memory-max", "256M"],
  });
  [guest, victim] = (await Promise.all(
    ["guest", "victim"].map((name) => server.client().createSprite(name)),
  )) as [Sprite, Sprite];
  await guest.updateNetworkPolicy({
    rules: [
      { domain: publicName, action: "allow" },
      { domain: "*.wild.example.test", action: "allow" },
      { domain: "rebound.example.test", action: "allow" },
    ],
  });
});
after(async () => {
  await server?.close();
  await internet?.close();
});

/** Whoever is well answers soon. */
async function assertWell(): Promise<void> {
  assert.equal(await shell(guest, "echo well"), "well");
  const fetched = await shell(victim, `curl -sS --max-time 15 http://${publicName}/`);
  assert.match(fetched, /^hello/, "the other sprite");
}

/** What the kernel or the gateway says of what is not allowed. */
const refused = /^(refused|E[A-Z0-9]+|TimeoutError|timeout|gaierror)$/;

/** Where an attempt may look as if it had worked, and what must have come of it all the same. */
const contained: Readonly<Record<string, RegExp>> = {
  "UDP to a raw address": /^(did send|E[A-Z]+)$/,
  "denied names that carry data": /^codes \[5\]$/,
  "denied names of every type": /^codes \[5\]$/,
  "a name with capitals that carry data": /^code 0$/,
  "a question with data behind it": /^code 0$/,
  "allowed wildcards that carry data": /^did ask$/,
  "malformed questions": /^code 0$/,
  "a name that is rebound to private addresses": /^code 5$/,
  "IPv6 frames": /^did send$/,
  "packets with another sprites address": /^(did send|E[A-Z]+)$/,
  "frames with another sprites address": /^did send$/,
  "ARP for another sprites address": /^did send$/,
  "fragments that hide the port": /^did send$/,
  "system calls of another word size": /^killed$/,
  mounting: /^EPERM$/,
  "input pushed into anothers terminal": /^(refused|no terminal)$/,
};

describe("root inside is refused, or nothing comes of it", () => {
  let results: Record<string, string> = {};
  const wild = "wild.example.test";
  let heardByVictim = "";

  before(async () => {
    const listening = `
import socket
for kind, port in ((socket.SOCK_STREAM, 9000), (socket.SOCK_DGRAM, 9001)):
    sock = socket.socket(socket.AF_INET, kind); sock.bind(("0.0.0.0", port))
    if kind == socket.SOCK_STREAM: sock.listen()
    else: print("listening", flush=True); print(sock.recv(100), flush=True)`;
    const listener = victim.spawn("python3", ["-c", listening]);
    listener.on("error", () => undefined);
    await new Promise<void>((resolve) => listener.stdout.once("data", () => resolve()));
    listener.stdout.on("data", (bytes) => (heardByVictim += String(bytes)));
    assert.match(await shell(guest, `curl -sS --max-time 15 http://${publicName}/`), /^hello/);
    const gateway = /default via (\S+)/.exec(await shell(guest, "ip route"))?.[1];
    const given = {
      gateway,
      wild,
      public: publicName,
      publicAddress,
      other: otherAddress,
      resolver: resolverAddress,
      address: await addressOf(guest),
      victim: await addressOf(victim),
      linkAddress: "10.210.0.1",
      serverPort: Number(new URL(server.url).port),
      hostDirectory: server.dataDirectory,
      hostProcesses: [server.pid, process.pid, 2_000_000],
    };
    const args = ["python3", "-c", program, JSON.stringify(given)];
    const { stdout } = await guest.execFile("sudo", args);
    results = JSON.parse(String(stdout)) as Record<string, string>;
    listener.kill("SIGKILL");
  });

  // The names are in the program: read from it, so that none is forgotten.
  const names = [...program.matchAll(/^@attempt\ndef (\w+)/gm)].map((match) =>
    (match[1] ?? "").replaceAll("_", " "),
  );
  for (const name of names) {
    test(name, () => assert.match(results[name] ?? "not tried", contained[name] ?? refused));
  }

  test("there are as many ways as were promised", () => {
    assert.ok(names.length >= 60, String(names.length));
    for (const name of Object.keys(contained)) assert.ok(names.includes(name), name);
  });

  test("no packet of it came to where it was sent", () => {
    const reached = internet.reached().join("\n");
    for (const word of ["raw-udp", "allowed-dns", "allowed-doq", "spoofed", "fragmented"]) {
      assert.ok(!reached.includes(word), word);
    }
    assert.ok(!heardByVictim.includes("to-the-victim"), heardByVictim);
  });

  test("no denied name, no spelling and no trailer left the machine", () => {
    const asked = internet.asked();
    assert.ok(asked.includes(publicName), "the name server does hear of allowed names");
    assert.deepEqual(
      asked.filter((name) => /tunnel\.test|secret-trailer|[A-Z]/.test(name)),
      [],
    );
  });

  test("names under an allowed wildcard carried a bounded number of bytes", () => {
    const carried = internet
      .asked()
      .filter((name) => name.startsWith("wildsecret"))
      .reduce((sum, name) => sum + name.length - wild.length, 0);
    assert.ok(carried > 1000 && carried < nameBudgetBytesMax + 4096, String(carried));
  });

  test("the other sprite, whose addresses were claimed, is as well as before", assertWell);
});

describe("what root inside uses up is its own", () => {
  test("a hundred thousand sockets", async () => {
    const script = `
import os, resource, socket
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
pairs = []
try:
    while len(pairs) < 50000: pairs.append(socket.socketpair())
except OSError as error: print("limited", error.errno)
print(len(pairs))`;
    // The limit of memory may end it: it is the guest's own.
    await asRoot(script).catch((error: { exitCode?: number }) => assert.equal(error.exitCode, 137));
    await assertWell();
  });

  test("a bomb of processes", async () => {
    const script = `
import os, signal, time
children = []
try:
    for n in range(2000):
        child = os.fork()
        if child == 0: time.sleep(30); os._exit(0)
        children.append(child)
except OSError: print("limited", len(children) < 300)
for child in children: os.kill(child, signal.SIGKILL)
for child in children: os.waitpid(child, 0)`;
    assert.equal(await asRoot(script), "limited True");
    await assertWell();
  });

  test("a bomb of memory, in processes and in files that are memory", async () => {
    await assert.rejects(asRoot("x = bytearray(700 * 2**20)"), { exitCode: 137 });
    const fill = "head -c 400M /dev/zero | sudo tee /dev/shm/bomb > /dev/null";
    await shell(guest, fill).catch(() => undefined);
    // What is in such files is not freed with the programs: in the end all of the sprite starts anew, without them.
    const isFreed = async (): Promise<boolean> =>
      await shell(guest, "sudo rm -f /dev/shm/bomb && sleep 0.2 && echo freed").then(
        (text) => text === "freed",
        () => false,
      );
    assert.ok(await waitUntil(isFreed, { timeoutMs: 60_000 }));
    await assertWell();
  });

  test("a full disk", async () => {
    const script = `
import errno, os
sizes = []
descriptor = os.open("/home/sprite/filler", os.O_CREAT | os.O_RDWR)
size, at = 2**36, 0
while size >= 2**20:
    try: os.posix_fallocate(descriptor, at, size); at += size
    except OSError as error:
        assert error.errno == errno.ENOSPC, error
        size //= 2
print(at > 2**35)`;
    assert.equal(await asRoot(script), "True");
    await assert.rejects(shell(guest, "head -c 8M /dev/zero > ~/more"));
    await assertWell();
    await shell(guest, "sudo rm -f ~/filler ~/more && echo again > ~/file && cat ~/file");
  });

  test("ten thousand files in one directory", async () => {
    const script = `
import os, shutil
os.makedirs("/home/sprite/many")
for n in range(10000): os.close(os.open(f"/home/sprite/many/{n}", os.O_CREAT | os.O_WRONLY))
shutil.rmtree("/home/sprite/many")
print("done")`;
    assert.equal(await asRoot(script), "done");
    await assertWell();
  });
});

describe("the socket inside, abused", () => {
  test("thousands of connections, slow and oversized requests", async () => {
    const script = `
import socket, time
def dial():
    sock = socket.socket(socket.AF_UNIX); sock.settimeout(1); sock.connect("/.sprite/api.sock"); return sock
held = []
try:
    while len(held) < 1500: held.append(dial())
except OSError: pass
slow = []
for sock in held[:200]:
    try: sock.send(b"GET /v1/checkpoints HTTP/1.1\\r\\nhost: x\\r\\nx-slow: ")
    except OSError: pass
for body in (
    b"POST /v1/checkpoint HTTP/1.1\\r\\nhost: x\\r\\ncontent-length: 99999999999\\r\\n\\r\\n" + b"x" * 2_000_000,
    b"GET /v1/checkpoints HTTP/1.1\\r\\n" + b"a: b\\r\\n" * 200_000,
    b"GET /" + b"a" * 2_000_000,
    b"\\0\\xff" * 1_000_000,
    b"POST /v1/checkpoint HTTP/1.1\\r\\nhost: x\\r\\ntransfer-encoding: chunked\\r\\n\\r\\nffffffffffffffff\\r\\n",
):
    try:
        sock = dial(); sock.sendall(body); sock.recv(1000)
    except OSError: pass
print("tried", len(held))`;
    assert.match(await asRoot(script), /^tried/);
    const answers = async (): Promise<boolean> => {
      const listing = guest.execFile("sprite-env", ["checkpoints", "list"]);
      return await listing.then(
        ({ stdout }) => String(stdout).trim() === "[]",
        () => false,
      );
    };
    assert.ok(await waitUntil(answers, { timeoutMs: 40_000 }));
    const [agent] = await childrenOf(server.places, "sprite");
    assert.ok(agent, "the agent is the one it was");
  });
});

describe("root inside turns on what runs it", () => {
  test("everything is killed, and again the first process", async () => {
    await guest.execFile("sudo", ["sh", "-c", "kill -9 1; kill -9 -1"]).catch(() => undefined);
    const isWell = async (): Promise<boolean> =>
      await shell(guest, "echo well").then(
        (text) => text === "well",
        () => false,
      );
    assert.ok(await waitUntil(isWell, { timeoutMs: 60_000 }));
    await assertWell();
  });

  test("after all of it, its policy still holds", async () => {
    await assert.rejects(shell(guest, `curl -sS --max-time 15 http://other.example.test/`));
    const fetched = await shell(guest, `curl -sS --max-time 15 http://${publicName}/`);
    assert.match(fetched, /^hello/);
  });

  // Last, since the guest itself is without a network until its connections are forgotten.
  test("more connections than the machine should remember", async () => {
    // Whole packets, since a socket for each takes longer than what is tried.
    const script = `
import socket, struct
source, target = ${JSON.stringify(await addressOf(guest))}, ${JSON.stringify(publicAddress)}
def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
head = struct.pack("!2B3H2BH4s4s", 0x45, 0, 33, 1, 0, 64, 17, 0, socket.inet_aton(source), socket.inet_aton(target))
head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
    for port in range(20000, 20000 + ${connectionsPerSpriteMax} + 1500):
        sock.sendto(head + struct.pack("!4H", port, 4444, 13, 0) + b"flood", (target, 0))
print("sent")`;
    await shell(guest, `curl -sS --max-time 15 -o /dev/null http://${publicName}/`);
    assert.equal(await asRoot(script), "sent");
    const flooded = internet.reached().filter((line) => line.includes("flood")).length;
    assert.ok(flooded > 0 && flooded <= connectionsPerSpriteMax + 100, String(flooded));
    await assertWell();
  });
});
