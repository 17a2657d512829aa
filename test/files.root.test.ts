/** Files of a sprite through its API, as the official client and others use it (contract.md section 7). */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { request, type IncomingMessage } from "node:http";
import { after, before, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { Sprite } from "@fly/sprites";
import { WebSocket } from "ws";
import { childrenOf, fileHelpersOf } from "./support/processes.ts";
import { TestServer } from "./support/server.ts";

let server: TestServer;
let sprite: Sprite;

before(async () => {
  server = await TestServer.start();
  sprite = await server.client().createSprite("files");
});
after(async () => await server?.close());

interface Answer {
  status: number;
  headers: Headers;
  text: string;
  json: Record<string, unknown>;
}

/** One raw call; parameters go into the query, or into the body of a POST. */
async function call(
  method: string,
  verb: string,
  parameters: Record<string, unknown>,
  init: { body?: string | Uint8Array<ArrayBuffer>; headers?: Record<string, string> } = {},
): Promise<Answer> {
  const isBody = method === "POST";
  const query = new URLSearchParams(parameters as Record<string, string>).toString();
  const response = await server.request(
    `/v1/sprites/files/fs/${verb}${isBody ? "" : `?${query}`}`,
    {
      method,
      ...init,
      ...(isBody ? { body: JSON.stringify(parameters) } : {}),
    },
  );
  const text = await response.text();
  const isJson = response.headers.get("content-type") === "application/json";
  const json = isJson && text !== "" ? (JSON.parse(text) as Record<string, unknown>) : {};
  return { status: response.status, headers: response.headers, text, json };
}

async function shell(script: string): Promise<string> {
  return String((await sprite.execFile("sh", ["-c", script])).stdout);
}

test("the official client reads what it wrote, and a command sees the same", async () => {
  const files = sprite.filesystem("/home/sprite");
  await files.writeFile("note.txt", "hello\n");
  assert.equal(await files.readFile("note.txt", "utf8"), "hello\n");
  assert.equal(await shell("cat note.txt; stat -c %U:%a note.txt"), "hello\nsprite:644\n");
  await files.appendFile("note.txt", "again\n");
  await files.writeFile("run.sh", "#!/bin/sh\necho ran\n", { mode: 0o750 });
  assert.equal(
    await shell("cat note.txt; ./run.sh; stat -c %a run.sh"),
    "hello\nagain\nran\n750\n",
  );
  await files.writeJSON("a/b/c.json", { deep: true });
  assert.deepEqual(await files.readJSON("a/b/c.json"), { deep: true });
  assert.equal(await shell("stat -c %U:%a a a/b"), "sprite:755\nsprite:755\n");
});

test("the official client's other calls do as those of node:fs", async () => {
  const files = sprite.filesystem("/home/sprite/work");
  await files.mkdir("one/two", { recursive: true });
  assert.deepEqual(await files.readdir("one"), ["two"]);
  assert.deepEqual(await files.readdir("one/two"), []);
  await files.writeFile("one/x", "12345");
  assert.equal(await files.exists("one/x"), true);
  assert.equal(await files.exists("one/y"), false);
  const stat = await files.stat("one/x");
  assert.deepEqual([stat.size, stat.isFile(), stat.isDirectory()], [5, true, false]);
  assert.ok(Math.abs(stat.mtime.getTime() - Date.now()) < 600_000);
  await files.rename("one/x", "one/z");
  await files.copyFile("one/z", "copy");
  await files.copyFile("one", "tree", { recursive: true });
  assert.equal(await files.readFile("tree/z", "utf8"), "12345");
  await files.chmod("copy", 0o600);
  assert.equal((await files.stat("copy")).mode, 0o600);
  await files.chown("copy", { uid: "root", gid: 1000 });
  assert.equal(await shell("stat -c %u:%g /home/sprite/work/copy"), "0:1000\n");
  const entries = await files.readdir(".", { withFileTypes: true });
  assert.deepEqual(
    entries.map((entry) => [entry.name, entry.isDirectory()]),
    [
      ["copy", false],
      ["one", true],
      ["tree", true],
    ],
  );
  assert.deepEqual(await files.readdir(".", { recursive: true, pattern: "z*" }), ["z", "z"]);
  await assert.rejects(files.rm("tree"), { code: "ENOTEMPTY" });
  await files.rm("tree", { recursive: true });
  await files.rm("tree", { force: true });
  await assert.rejects(files.rm("tree"), { code: "ENOENT" });
  await assert.rejects(files.readFile("one"), { code: "EISDIR", message: /is a directory/ });
  await assert.rejects(files.readFile("copy/x"), { code: "ENOTDIR", message: /not a directory/ });
});

test("a tree is copied over its own copy, links and all", async () => {
  await shell(
    "mkdir -p ~/again/from/d; cd ~/again/from; echo 1 > d/f; ln -s f d/link; ln -s d dir",
  );
  const copied = {
    source: "/home/sprite/again/from",
    dest: "/home/sprite/again/to",
    recursive: true,
  };
  assert.equal((await call("POST", "copy", copied)).status, 200);
  await shell("cd ~/again/from; echo 2 > d/f; ln -sfn nowhere d/link; echo 3 > d/link2");
  assert.equal((await call("POST", "copy", copied)).status, 200);
  assert.equal(await shell("cd ~/again/to; cat dir/f; readlink d/link"), "2\nnowhere\n");
});

test("contract 16.1: fs/delete answers 200", async () => {
  await call("PUT", "write", { path: "/tmp/gone" }, { body: "x" });
  const { status, json } = await call("DELETE", "delete", { path: "/tmp/gone" });
  assert.deepEqual([status, json], [200, { deleted: ["/tmp/gone"], count: 1 }]);
});

test("contract 15.6: what was deleted is in the answer, and parameters may come as a body", async () => {
  await call("PUT", "write", { path: "/tmp/tree/a/b" }, { body: "x" });
  const response = await server.request("/v1/sprites/files/fs/delete", {
    method: "DELETE",
    body: JSON.stringify({ path: "tree", workingDir: "/tmp", recursive: true }),
  });
  assert.deepEqual(await response.json(), { deleted: ["/tmp/tree"], count: 3 });
});

test("contract 15.12: errors have the system's code, its words and the path", async () => {
  const { status, json, headers } = await call("GET", "read", { path: "app/x", workingDir: "/" });
  assert.equal(status, 404);
  assert.equal(headers.get("content-type"), "application/json");
  const error = "open /app/x: no such file or directory";
  assert.deepEqual(json, { error, code: "ENOENT", path: "/app/x", message: error });
  assert.equal((await call("GET", "list", { path: "/nowhere" })).json["code"], "ENOENT");
  const missing = await call("GET", "read", {});
  assert.deepEqual([missing.status, missing.json["code"]], [400, "EINVAL"]);
});

test("contract 15.13: missing parents are made unless mkdirParents or mkdir says no", async () => {
  const status = async (path: string, more: Record<string, string>): Promise<number> =>
    (await call("PUT", "write", { path, ...more }, { body: "x" })).status;
  assert.equal(await status("/tmp/p1/p2/f", {}), 200);
  assert.equal(await status("/tmp/q1/q2/f", { mkdirParents: "false" }), 404);
  assert.equal(await status("/tmp/q1/q2/f", { mkdir: "false" }), 404);
  assert.equal(await status("/tmp/q1/q2/f", { mkdir: "true" }), 200);
  // Python's mkdir(parents=False): one directory, not two.
  assert.equal(await status("/tmp/r1/.keep", { mkdirParents: "false" }), 200);
  assert.equal(await status("/tmp/s1/s2/.keep", { mkdirParents: "false" }), 404);
});

test("contract 15.14: a mode is octal text or a number", async () => {
  await call("PUT", "write", { path: "/tmp/m", mode: "0600" }, { body: "x" });
  const path = "/tmp/m";
  for (const [mode, text] of [
    [493, "0755"],
    ["0640", "0640"],
    ["600", "0600"],
  ] as const) {
    const { json } = await call("POST", "chmod", { path, mode });
    assert.deepEqual(json, { affected: [{ path, mode: text }], count: 1 });
  }
  assert.equal((await call("POST", "chmod", { path, mode: "rwx" })).json["code"], "EINVAL");
});

test("contract 16.11: fs/list of a file is that file", async () => {
  await call("PUT", "write", { path: "/tmp/one.json", mode: "0640" }, { body: "{}" });
  const { json } = await call("GET", "list", { path: "/tmp/one.json" });
  const [entry] = json["entries"] as Array<Record<string, unknown>>;
  assert.equal(json["count"], 1);
  const { modTime, ...rest } = entry ?? {};
  assert.match(String(modTime), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.deepEqual(rest, {
    ...{ name: "one.json", path: "/tmp/one.json", type: "file" },
    ...{ size: 2, mode: "0640", isDir: false },
  });
});

test("contract 16.13: every answer of the file API has the version", async () => {
  const answers = await Promise.all([
    call("GET", "read", { path: "/nowhere" }),
    call("GET", "list", { path: "/" }),
    call("HEAD", "read", { path: "/etc/passwd" }),
  ]);
  for (const { headers } of answers) assert.match(headers.get("sprite-version") ?? "", /^v\d/);
});

test("content is never taken for JSON, and a HEAD tells its size", async () => {
  await call("PUT", "write", { path: "/tmp/data.json" }, { body: "[1]" });
  const { headers, text } = await call("GET", "read", { path: "/tmp/data.json" });
  assert.deepEqual([headers.get("content-type"), text], ["application/octet-stream", "[1]"]);
  const head = await call("HEAD", "read", { path: "/tmp/data.json" });
  assert.deepEqual([head.status, head.headers.get("content-length"), head.text], [200, "3", ""]);
});

test("ranges of a file", async () => {
  await call("PUT", "write", { path: "/tmp/ten" }, { body: "0123456789" });
  const get = async (range: string, more: Record<string, string> = {}): Promise<Answer> =>
    await call("GET", "read", { path: "/tmp/ten" }, { headers: { range, ...more } });
  const brief = ({ status, text, headers }: Answer): unknown[] => [
    status,
    headers.get("content-range"),
    ...(status < 400 ? [text] : []),
  ];
  assert.deepEqual(brief(await get("bytes=2-4")), [206, "bytes 2-4/10", "234"]);
  assert.deepEqual(brief(await get("bytes=7-")), [206, "bytes 7-9/10", "789"]);
  assert.deepEqual(brief(await get("bytes=-3")), [206, "bytes 7-9/10", "789"]);
  assert.deepEqual(brief(await get("bytes=-99")), [206, "bytes 0-9/10", "0123456789"]);
  assert.deepEqual(brief(await get("bytes=8-99")), [206, "bytes 8-9/10", "89"]);
  assert.deepEqual(brief(await get("bytes=9-9")), [206, "bytes 9-9/10", "9"]);
  assert.deepEqual(brief(await get("bytes=10-")), [416, "bytes */10"]);
  assert.deepEqual(brief(await get("bytes=-0")), [416, "bytes */10"]);
  for (const ignored of ["bytes=4-2", "lines=1-2", "bytes=1-2,4-5", "bytes=a-b", "bytes=-"]) {
    assert.deepEqual(brief(await get(ignored)), [200, null, "0123456789"], ignored);
  }
  const etag = (await get("bytes=0-0")).headers.get("etag") ?? "";
  assert.equal((await get("bytes=2-4", { "if-range": etag })).text, "234");
  await call("PUT", "write", { path: "/tmp/ten" }, { body: "abcdefghij" });
  assert.equal((await get("bytes=2-4", { "if-range": etag })).text, "abcdefghij");
  const { text } = await call("GET", "read", { path: "/tmp/ten", start: 1, end: 3 });
  assert.equal(text, "bc");
});

test("an empty file, an empty range and an empty directory", async () => {
  await call("PUT", "write", { path: "/tmp/empty/f" });
  const { status, text, headers } = await call("GET", "read", { path: "/tmp/empty/f" });
  assert.deepEqual([status, text, headers.get("content-length")], [200, "", "0"]);
  await call("DELETE", "delete", { path: "/tmp/empty/f" });
  const { json } = await call("GET", "list", { path: "/tmp/empty" });
  assert.deepEqual(json, { path: "/tmp/empty", entries: [], count: 0 });
});

test("new files are the sprite user's, root's in the system's places, and a replaced one keeps its owner", async () => {
  const owner = async (path: string): Promise<string> => await shell(`stat -c %U:%a ${path}`);
  for (const path of ["/workspace/new", "/root/new", "/etc/new", "/tmp/asked"]) {
    const asRoot = path === "/tmp/asked" ? { asRoot: "true" } : {};
    assert.equal((await call("PUT", "write", { path, ...asRoot }, { body: "x" })).status, 200);
  }
  assert.equal(await owner("/workspace /workspace/new"), "sprite:755\nsprite:644\n");
  assert.equal(await shell("sudo stat -c %U:%a /root/new"), "root:644\n");
  assert.equal(await owner("/etc/new /tmp/asked"), "root:644\nroot:644\n");
  await shell("sudo chown 33:44 /workspace/new; sudo chmod 4711 /workspace/new");
  await call("PUT", "write", { path: "/workspace/new" }, { body: "y" });
  assert.equal(await shell("stat -c %u:%g:%a /workspace/new"), "33:44:4711\n");
});

test("writing through a link replaces what it leads to, and leaves the link", async () => {
  await shell("mkdir -p /tmp/l/real; cd /tmp/l; ln -s real/f link; ln -s /tmp/l/real/f absolute");
  await call("PUT", "write", { path: "/tmp/l/link" }, { body: "one" });
  await call("PUT", "write", { path: "/tmp/l/absolute" }, { body: "two" });
  assert.equal(
    await shell("cd /tmp/l; cat real/f; readlink link absolute"),
    "tworeal/f\n/tmp/l/real/f\n",
  );
});

test("a watch tells what happens below a directory, and what becomes of directories made later", async () => {
  const files = sprite.filesystem("/home/sprite/watched");
  await files.mkdir(".", { recursive: true });
  const watcher = await files.watch(".", { recursive: true });
  assert.deepEqual(await watcher.next(), { type: "subscribed", paths: ["/home/sprite/watched"] });
  const seen: string[] = [];
  const until = async (line: string): Promise<void> => {
    while (!seen.includes(line)) {
      const event = (await watcher.next()) as Record<string, unknown> | null;
      assert.ok(event, `ended before ${line}: ${seen.join(", ")}`);
      seen.push(`${String(event["event"] ?? event["message"])} ${String(event["path"])}`);
    }
  };
  const at = (name: string): string => `/home/sprite/watched/${name}`;
  await shell(`cd ${at("")} && echo 1 > a && chmod 600 a && mv a b`);
  await until(`create ${at("b")}`);
  for (const line of ["create", "write", "chmod", "rename"]) {
    assert.ok(seen.includes(`${line} ${at("a")}`), `${line}: ${seen.join(", ")}`);
  }
  await shell(`mkdir -p ${at("deep/er")} && echo 1 > ${at("deep/er/c")}`);
  await until(`create ${at("deep/er/c")}`);
  await files.writeFile("b", "replaced");
  await until(`write ${at("b")}`);
  assert.equal(seen.join().includes("opensprites"), false, "no passing names");
  assert.equal(seen.join().includes("#"), false, "nor those of files that have no name yet");
  // Somebody's own file may be called so.
  await shell(`echo 1 > ${at("'#12'")}`);
  await until(`write ${at("#12")}`);
  await shell(`rm ${at("deep/er/c")}`);
  await until(`remove ${at("deep/er/c")}`);
  await shell(`mv ${at("deep")} /tmp/moved && echo 1 > /tmp/moved/er/d && echo 1 > ${at("last")}`);
  await until(`create ${at("last")}`);
  assert.equal(seen.join().includes("/er/d"), false, "what was moved away is not watched");
  watcher.close();
});

test("a watch says what it cannot do, and goes on", async () => {
  const url = server.url.replace("http", "ws");
  const headers = { authorization: `Bearer ${server.token}` };
  const socket = new WebSocket(`${url}/v1/sprites/files/fs/watch`, { headers });
  const messages: Array<Record<string, unknown>> = [];
  socket.on("message", (data) =>
    messages.push(JSON.parse((data as Buffer).toString()) as Record<string, unknown>),
  );
  const reaches = async (count: number): Promise<Record<string, unknown>> => {
    for (const end = performance.now() + 20_000; performance.now() < end; await delay(10)) {
      const message = messages[count - 1];
      if (message !== undefined) return message;
    }
    throw new Error(`only ${messages.length} messages: ${JSON.stringify(messages)}`);
  };
  await new Promise((resolve) => socket.once("open", resolve));
  socket.send("{");
  assert.equal((await reaches(1))["type"], "error");
  socket.send(JSON.stringify({ type: "subscribe", paths: ["/nowhere"] }));
  assert.match(String((await reaches(2))["message"]), /no such file/);
  // A file is watched by its name, whatever replaces it.
  await call("PUT", "write", { path: "/tmp/w/file" }, { body: "1" });
  socket.send(JSON.stringify({ type: "subscribe", paths: ["file"], workingDir: "/tmp/w" }));
  assert.deepEqual(await reaches(3), { type: "subscribed", paths: ["/tmp/w/file"] });
  await call("PUT", "write", { path: "/tmp/w/other" }, { body: "1" });
  await call("PUT", "write", { path: "/tmp/w/file" }, { body: "22" });
  const { timestamp, ...event } = await reaches(4);
  assert.match(String(timestamp), /Z$/);
  assert.deepEqual(event, {
    ...{ type: "event", path: "/tmp/w/file", event: "write", size: 2, isDir: false },
  });
  socket.send(JSON.stringify({ type: "unsubscribe", paths: ["/tmp/w/file"] }));
  assert.equal((await reaches(5))["type"], "unsubscribed");
  socket.close();
});

test("an upload that breaks off leaves nothing, and the old content", async () => {
  await call("PUT", "write", { path: "/home/sprite/up/f" }, { body: "old" });
  const target = `${server.url}/v1/sprites/files/fs/write?path=/home/sprite/up/f`;
  await new Promise<void>((resolve) => {
    const headers = { authorization: `Bearer ${server.token}`, "content-length": 1_000_000 };
    const upload = request(target, { method: "PUT", headers });
    upload.on("error", () => resolve());
    upload.write(Buffer.alloc(300_000), () => setTimeout(() => upload.destroy(), 100));
  });
  assert.equal(await shell("cd ~/up; ls -A; cat f"), "f\nold");
});

test("a refused upload is told why, however large it is", async () => {
  for (const body of ["x", new Uint8Array(20_000_000)]) {
    const parameters = { path: "/nowhere/at/all", mkdirParents: "false" };
    for (let round = 0; round < 5; round += 1) {
      const { status, json } = await call("PUT", "write", parameters, { body });
      assert.deepEqual([status, json["code"]], [404, "ENOENT"]);
    }
  }
});

/** The most memory that these processes had since `forget`, in MB. */
async function peaks(pids: readonly number[]): Promise<number[]> {
  const texts = pids.map(async (pid) => await readFile(`/proc/${pid}/status`, "utf8"));
  return (await Promise.all(texts)).map((text) => Number(/VmHWM:\s+(\d+)/.exec(text)?.[1]) / 1024);
}

test("a large file costs no memory, either way", async () => {
  await call("PUT", "write", { path: "/dev/shm/small" }, { body: "x" });
  const agents = await childrenOf(server.places, "sprite");
  const pids = [...agents.map(({ pid }) => pid), ...(await fileHelpersOf(server.places))];
  assert.equal(pids.length, 2, "an agent and its helper");
  // The peak is counted anew from now on (proc_pid_clear_refs(5)).
  await Promise.all(pids.map(async (pid) => await writeFile(`/proc/${pid}/clear_refs`, "5")));
  const before = await peaks(pids);
  const size = 160 * 1024 * 1024;
  const chunk = Buffer.alloc(1024 * 1024, "sprite");
  const upload = request(`${server.url}/v1/sprites/files/fs/write?path=/dev/shm/large`, {
    method: "PUT",
    headers: { authorization: `Bearer ${server.token}`, "content-length": size },
  });
  for (let sent = 0; sent < size; sent += chunk.length) {
    if (!upload.write(chunk)) await once(upload, "drain");
  }
  upload.end();
  const [answer] = (await once(upload, "response")) as [IncomingMessage];
  assert.equal(answer.statusCode, 200);
  answer.resume();
  const download = await server.request("/v1/sprites/files/fs/read?path=/dev/shm/large");
  const hash = createHash("sha256");
  assert.ok(download.body);
  for await (const bytes of download.body) hash.update(bytes);
  const expected = createHash("sha256");
  for (let count = 0; count < size; count += chunk.length) expected.update(chunk);
  assert.equal(hash.digest("hex"), expected.digest("hex"));
  const grown = (await peaks(pids)).map((peak, index) => peak - (before[index] ?? 0));
  assert.ok(Math.max(...grown) < 64, `grew by ${grown.map(Math.round).join(" and ")} MB`);
  await call("DELETE", "delete", { path: "/dev/shm/large" });
});

test("a restore ends what is under way with an error, and waits with what comes", async () => {
  await shell("head -c 300000000 /dev/zero > ~/large");
  const narrated = await server.request("/v1/sprites/files/checkpoint", { method: "POST" });
  const id = /Checkpoint (v\d+) created/.exec(await narrated.text())?.[1] ?? "";
  const download = await server.request("/v1/sprites/files/fs/read?path=/home/sprite/large");
  const reader = download.body?.getReader();
  assert.ok(reader);
  await reader.read();
  const restored = (await sprite.restoreCheckpoint(id)).processAll(() => {});
  await delay(50);
  const later = call("GET", "read", { path: "/home/sprite/note.txt" });
  await restored;
  await assert.rejects(async () => {
    while (!(await reader.read()).done);
  });
  assert.equal((await later).status, 200);
});
