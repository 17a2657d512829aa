/** What a sprite that sleeps answers by its disk alone: the same as when it ran, and it sleeps on. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { waitUntil } from "../src/base/wait.ts";
import { tracesOf } from "./support/machine.ts";
import { childrenOf, killAll, signalAll } from "./support/processes.ts";
import { TestServer } from "./support/server.ts";

const withinMs = 30_000;
const name = "reader";
let server: TestServer;
let ids: string[];

before(async () => {
  server = await TestServer.start();
  const sprite = await server.client().createSprite(name);
  const shell = async (script: string): Promise<void> =>
    void (await sprite.execFile("sh", ["-c", script]));
  await shell("cd ~ && mkdir -p d/deep && echo one > d/file && ln -s ../file d/deep/link");
  await shell("cd ~ && ln -s /../../../../etc/passwd out && mkfifo pipe");
  await shell("cd ~ && head -c 9000000 /dev/urandom > big && head -c 1000 big > long");
  // More than all that lies between the disk and somebody who does not read on can hold.
  await shell("cd ~ && truncate -s 100M long && tail -c 1000 big >> long");
  const first = await checkpoint();
  await shell(
    "cd ~ && echo two > d/file && rm out && ln -s /proc/1/root/etc leads && echo new > d/new",
  );
  await shell(
    'sudo sh -c "rm -r /etc/network; mknod /home/sprite/device c 1 3; chmod 600 /home/sprite/d/new"',
  );
  ids = [first, await checkpoint()];
  await shell("echo later > ~/later");
  await define("talker", { cmd: "sh", args: ["-c", "echo said; exec sleep 10000"] });
  await define("stopped", { cmd: "sleep", args: ["10000"], needs: [] });
  await (await post("services/stopped/stop")).text();
  const isSaid = async (): Promise<boolean> =>
    (await textOf("services/talker/logs")).includes("said");
  assert.ok(await waitUntil(isSaid, { timeoutMs: withinMs, intervalMs: 50 }));
});
after(async () => await server?.close());

async function request(path: string, init: RequestInit = {}): Promise<Response> {
  return await server.request(`/v1/sprites/${name}/${path}`, init);
}

async function post(path: string): Promise<Response> {
  return await request(path, { method: "POST" });
}

async function define(service: string, definition: object): Promise<void> {
  const answer = await request(`services/${service}?duration=0s`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(definition),
  });
  assert.match(await answer.text(), /complete/);
}

async function checkpoint(): Promise<string> {
  return /Checkpoint (v\d+) created/.exec(await (await post("checkpoint")).text())?.[1] ?? "";
}

async function textOf(path: string): Promise<string> {
  return await (await request(path)).text();
}

interface Answer {
  status: number;
  headers: Record<string, string>;
  body: string;
}

const comparedHeaders = ["content-type", "content-range", "etag", "last-modified"];

async function answerOf(path: string, init: RequestInit = {}): Promise<Answer> {
  const response = await request(path, init);
  const headers = comparedHeaders.flatMap((header) => {
    const value = response.headers.get(header);
    return value === null ? [] : [[header, value] as const];
  });
  const bytes = Buffer.from(await response.arrayBuffer());
  return {
    status: response.status,
    headers: Object.fromEntries(headers),
    // What only a checkpoint holds grows as the disk changes, also by what a sleep writes last.
    body: bytes.toString("latin1").replaceAll(/"unique_bytes":\d+/g, ""),
  };
}

async function status(): Promise<string> {
  const response = await server.request(`/v1/sprites/${name}`);
  return ((await response.json()) as { status: string }).status;
}

async function sleep(): Promise<void> {
  const response = await post("sleep");
  assert.equal(response.status, 200, await response.text());
}

const read = (path: string): string => `fs/read?path=${encodeURIComponent(path)}`;
const list = (path: string, more = ""): string => `fs/list?path=${encodeURIComponent(path)}${more}`;

/** What must be answered alike, whether the sprite runs or sleeps. */
function looks(): [path: string, init?: RequestInit][] {
  const home = "/home/sprite";
  return [
    [read(`${home}/d/file`)],
    [read(`${home}/d/file`), { method: "HEAD" }],
    [read(`${home}/big`), { headers: { range: "bytes=8999990-" } }],
    [read(`${home}/big`), { headers: { range: "bytes=-5" } }],
    [read(`${home}/big`), { headers: { range: "bytes=99999999-" } }],
    [`fs/read?path=d%2Ffile&workingDir=${encodeURIComponent(home)}`],
    [read(`${home}/d/deep/link`)],
    [read(`${home}/d`)],
    [read(`${home}/missing`)],
    [read(`${home}/pipe`)],
    [read(`${home}/device`)],
    [read("/../../../etc/passwd")],
    [read("/etc/os-release")],
    [read(`${home}/d/new`)],
    [list(home)],
    [list(home, "&recursive=true")],
    [list(`${home}/d/file`)],
    [list("/etc")],
    [list("/home/nobody")],
    ["checkpoints"],
    ["checkpoints?history=v1"],
    [`checkpoints/${ids[0]}`],
    ["checkpoints/v99"],
    [`checkpoints/${ids[0]}/diff?to=${ids[1]}`],
    [`checkpoints/${ids[1]}/diff`],
    [`checkpoints/${ids[0]}/diff?to=v99`],
    ["services/nothing"],
    ["services/nothing/logs"],
    ["policy/network"],
    ["tasks"],
  ];
}

const allLooks = async (): Promise<Answer[]> => {
  const answers: Answer[] = [];
  for (const [path, init] of looks()) answers.push(await answerOf(path, init));
  return answers;
};

/** Names, sizes and times of all that the bucket has. */
async function bucketListing(): Promise<string[]> {
  const bucket = join(server.dataDirectory, "bucket");
  const names = await readdir(bucket, { recursive: true });
  const lines = await Promise.all(
    names
      // Liveness of the server, and the registry, which notes when tokens are used.
      .filter((path) => path.startsWith("sprites/"))
      .map(async (path) => {
        const found = await stat(join(bucket, path));
        return found.isDirectory() ? "" : `${path} ${found.size} ${found.mtimeMs} ${found.ino}`;
      }),
  );
  return lines.filter(Boolean).toSorted();
}

const agentStarts = (): number => server.log.filter((line) => line.includes('"container')).length;

describe("a sprite that sleeps", () => {
  test("answers what its disk says, byte for byte as when it ran, and sleeps on", async () => {
    const awake = await allLooks();
    const services = JSON.parse(await textOf("services")) as { state: object }[];
    const logs = await textOf("services/talker/logs");
    await sleep();
    const stored = await bucketListing();
    const starts = agentStarts();
    const asleep = await allLooks();
    for (const [index, [path]] of looks().entries()) {
      assert.deepEqual(asleep[index], awake[index], path);
    }
    const statuses = new Set(awake.map((answer) => answer.status));
    assert.deepEqual(
      [...statuses].toSorted((a, b) => a - b),
      [200, 206, 400, 404, 416],
    );
    const stopped = JSON.parse(await textOf("services")) as { name: string; state: object }[];
    const withoutState = (service: object): object => ({ ...service, state: null });
    assert.deepEqual(stopped.map(withoutState), services.map(withoutState));
    const expected = { pid: null, started_at: null, error: "", restart_count: 0 };
    const rest = { next_restart_at: null, exit_code: null, status: "stopped" };
    for (const { name: service, state } of stopped) {
      const starts_on_wake = service === "talker";
      assert.deepEqual(state, { name: service, ...expected, ...rest, starts_on_wake });
    }
    const withoutTime = (text: string): string => text.replaceAll(/"timestamp":\d+/g, "");
    assert.equal(withoutTime(await textOf("services/talker/logs")), withoutTime(logs));
    assert.deepEqual(await answerOf(list("/proc")), {
      ...(await answerOf(list("/proc"))),
      body: '{"path":"/proc","entries":[],"count":0}',
    });
    assert.equal(await status(), "cold");
    assert.equal(agentStarts(), starts);
    assert.deepEqual(await bucketListing(), stored);
    const head = await readFile(join(server.dataDirectory, "bucket", headOf(stored)), "utf8");
    assert.equal((JSON.parse(head) as { holder: unknown }).holder, null);
  });

  test("is read by many at a time through one process, of which nothing stays", async () => {
    await sleep();
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => answerOf(read("/home/sprite/big"))),
    );
    assert.equal(new Set(answers.map(({ body }) => body)).size, 1);
    assert.equal((await readers()).length, 1);
    // One that starts needs it no more.
    await run("true");
    await untilNoReader();
    const traces = await tracesOf(server.places);
    const own = traces.filter((line) => line.includes("/readers/") || line.includes("agent/cold"));
    assert.deepEqual(own, []);
  });

  test("can be started in the middle of a read: both succeed, and the next read is of the new state", async () => {
    await sleep();
    const response = await request(read("/home/sprite/long"));
    const body = response.body?.getReader();
    assert.ok(body);
    const hash = createHash("sha256");
    const first = await body.read();
    hash.update(first.value ?? "");
    const woken = await run("sha256sum < long && echo new > long");
    assert.equal(await status(), "running");
    for (let part = await body.read(); !part.done; part = await body.read())
      hash.update(part.value);
    assert.equal(hash.digest("hex"), woken.slice(0, 64));
    assert.equal(await textOf(read("/home/sprite/long")), "new\n");
    await sleep();
    assert.equal(await textOf(read("/home/sprite/long")), "new\n");
    assert.equal(await status(), "cold");
  });

  test("is read from the bucket when nothing of it is on this machine", async () => {
    // The reader of before has what it has read.
    await run("true");
    await untilNoReader();
    await sleep();
    await rm(join(server.dataDirectory, "cache/sprites"), { recursive: true });
    assert.equal(await textOf(read("/home/sprite/d/file")), "two\n");
    assert.equal((await answerOf(read("/home/sprite/big"))).body.length, 9_000_000);
    assert.equal(await status(), "cold");
  });

  test("whose disk was not closed is put right by a start, which the read waits for", async () => {
    await run("echo unsynced > d/late && sync");
    const agents = await childrenOf(server.places, "sprite");
    // So that they can neither be replaced nor end in order.
    signalAll(agents, "SIGSTOP");
    await server.kill();
    await killAll(agents);
    await server.startProcess();
    assert.equal(await status(), "cold");
    assert.equal(await textOf(read("/home/sprite/d/late")), "unsynced\n");
    assert.equal(await status(), "running");
    await sleep();
    assert.equal(await textOf(read("/home/sprite/d/late")), "unsynced\n");
    assert.equal(await status(), "cold");
  });

  test("can be deleted while it is read: the read breaks off, and nothing stays", async () => {
    await sleep();
    const response = await request(read("/home/sprite/big"));
    const body = response.body?.getReader();
    assert.ok(body);
    await body.read();
    await server.client().deleteSprite(name);
    const rest = async (): Promise<void> => {
      for (let part = await body.read(); !part.done; part = await body.read());
    };
    await assert.rejects(rest());
    await untilNoReader();
  });
});

async function run(script: string): Promise<string> {
  const sprite = server.client().sprite(name);
  return String((await sprite.execFile("sh", ["-c", `cd ~ && ${script}`])).stdout);
}

async function readers(): Promise<string[]> {
  return await readdir(join(server.places.runDirectory, "readers")).catch(() => []);
}

async function untilNoReader(): Promise<void> {
  const isGone = async (): Promise<boolean> => (await readers()).length === 0;
  if (await waitUntil(isGone, { timeoutMs: withinMs, intervalMs: 50 })) return;
  const traces = [...(await readers()), ...(await tracesOf(server.places))];
  assert.fail([...traces, ...server.log.slice(-10)].join("\n"));
}

function headOf(listing: readonly string[]): string {
  return (listing.find((line) => line.includes("/head.json")) ?? "").split(" ")[0] ?? "";
}
