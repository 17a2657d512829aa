/** The file API against a hostile guest and hostile callers: nothing leads out, hangs, lies or grows. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Sprite } from "@fly/sprites";
import { waitUntil } from "../src/base/wait.ts";
import { childrenOf, fileHelpersOf } from "./support/processes.ts";
import { TestServer } from "./support/server.ts";

let server: TestServer;
let sprite: Sprite;
/** A directory of the host whose path does not exist inside. */
let outside: string;

before(async () => {
  server = await TestServer.start();
  sprite = await server.client().createSprite("tricks");
  outside = join(server.dataDirectory, "outside");
  await mkdir(outside);
  await writeFile(join(outside, "secret"), "of the host");
  await shell("mkdir -p /home/sprite/t");
});
after(async () => await server?.close());

async function shell(script: string): Promise<string> {
  return String((await sprite.execFile("sh", ["-c", script])).stdout);
}

/** Its script ends when its work is done, or when the file `stop` appears. */
async function python(script: string): Promise<string> {
  return String((await sprite.execFile("python3", ["-c", script])).stdout);
}

interface Answer {
  status: number;
  code: unknown;
  text: string;
  headers: Headers;
}

async function call(
  method: string,
  verb: string,
  parameters: Record<string, unknown>,
  body?: string | Uint8Array<ArrayBuffer>,
): Promise<Answer> {
  const isPost = method === "POST";
  const query = new URLSearchParams(parameters as Record<string, string>).toString();
  const target = `/v1/sprites/tricks/fs/${verb}${isPost ? "" : `?${query}`}`;
  const content = isPost ? JSON.stringify(parameters) : body;
  const response = await server.request(target, {
    method,
    ...(content === undefined ? {} : { body: content }),
  });
  const text = await response.text();
  const isJson = response.headers.get("content-type") === "application/json" && text !== "";
  const { code } = isJson ? (JSON.parse(text) as { code?: string }) : {};
  return { status: response.status, code, text, headers: response.headers };
}

const read = async (path: string): Promise<Answer> => await call("GET", "read", { path });
const write = async (path: string, body = "x"): Promise<Answer> =>
  await call("PUT", "write", { path }, body);

function refusedWith(answer: Answer, ...codes: string[]): void {
  assert.ok(codes.includes(String(answer.code)), `${answer.status} ${answer.text.slice(0, 200)}`);
}

test("an absolute link leads to the sprite's own file", async () => {
  await shell(`cd ~/t; ln -s ${outside}/secret out; ln -s /etc/passwd own`);
  refusedWith(await read("/home/sprite/t/out"), "ENOENT");
  assert.equal((await read("/home/sprite/t/own")).text, await shell("cat /etc/passwd"));
});

test("dots lead to the root and no further, in a path and in a link", async () => {
  await shell(`cd ~/t; ln -s ../../../../../../../..${outside}/secret dots; ln -s ../../../.. up`);
  const up = "/..".repeat(40);
  for (const path of [`${up}${outside}/secret`, "/home/sprite/t/dots"]) {
    refusedWith(await read(path), "ENOENT");
  }
  assert.equal((await read("/home/sprite/t/up/etc/hostname")).text.trim(), "tricks");
  refusedWith(await read(`/home/sprite/t/up${outside}/secret`), "ENOENT");
});

test("the magic links of /proc lead nowhere", async () => {
  await shell("cd ~/t; ln -s /proc/1/root root; ln -s /proc/self/fd fds; ln -s /proc/1/fd/0 line");
  const paths = ["/proc/1/root", "/proc/self/root", "/proc/1/cwd", "/proc/thread-self/root"];
  for (const path of [...paths, "/home/sprite/t/root"]) {
    refusedWith(await read(`${path}${outside}/secret`), "ELOOP", "ENOENT", "EACCES");
    refusedWith(await read(`${path}/etc/passwd`), "ELOOP", "ENOENT", "EACCES");
    refusedWith(await write(`${path}/tmp/planted`), "ELOOP", "ENOENT", "EACCES");
  }
  for (const path of ["/home/sprite/t/line", "/home/sprite/t/fds/3", "/proc/self/fd/3"]) {
    refusedWith(await read(path), "ELOOP", "ENOENT", "EACCES");
    refusedWith(await write(path), "ELOOP", "ENOENT", "EACCES", "EEXIST");
  }
});

test("what the kernel shows as files is not for this API", async () => {
  const paths = [
    "/proc/kallsyms",
    "/proc/vmallocinfo",
    "/proc/1/environ",
    "/sys/kernel/uevent_seqnum",
  ];
  for (const path of [...paths, "/sys/fs/cgroup/cgroup.procs", "/dev/pts/ptmx"]) {
    refusedWith(await read(path), "EACCES", "ENOENT");
  }
  refusedWith(await call("GET", "list", { path: "/proc" }), "EACCES");
  const { text } = await call("GET", "list", { path: "/", recursive: "true", pattern: "kallsyms" });
  assert.equal((JSON.parse(text) as { count: number }).count, 0);
});

test("nothing of the kernel's is changed by writing, chmod, chown, rename or delete", async () => {
  const before = await shell("cat /proc/1/oom_score_adj /proc/sys/kernel/hostname");
  for (const path of ["/proc/1/oom_score_adj", "/proc/sys/kernel/hostname", "/sys/kernel/x"]) {
    refusedWith(await write(path, "-1000"), "EACCES", "EROFS");
    refusedWith(await call("POST", "chmod", { path, mode: "0777" }), "EACCES", "ENOENT");
    refusedWith(await call("POST", "chown", { path, uid: 1000 }), "EACCES", "ENOENT");
    refusedWith(await call("DELETE", "delete", { path }), "EACCES", "EPERM", "EROFS", "ENOENT");
    const moved = await call("POST", "rename", { source: path, dest: "/home/sprite/t/moved" });
    refusedWith(moved, "EACCES", "EXDEV", "EPERM", "ENOENT");
  }
  assert.equal(await shell("cat /proc/1/oom_score_adj /proc/sys/kernel/hostname"), before);
});

test("a FIFO is refused at once, whoever waits at its other end", async () => {
  await shell("cd ~/t; mkfifo pipe; ln -s pipe topipe");
  for (const path of ["/home/sprite/t/pipe", "/home/sprite/t/topipe"]) {
    refusedWith(await read(path), "EINVAL");
    refusedWith(await write(path), "EINVAL");
    const copied = await call("POST", "copy", { source: path, dest: "/home/sprite/t/copy" });
    refusedWith(copied, "EINVAL");
  }
});

test("a socket is refused, and so are devices", async () => {
  await python("import socket; socket.socket(socket.AF_UNIX).bind('/home/sprite/t/socket')");
  for (const path of ["/home/sprite/t/socket", "/dev/null", "/dev/zero", "/dev/tty"]) {
    refusedWith(await read(path), "EINVAL");
    refusedWith(await write(path), "EINVAL");
  }
  const { text } = await call("GET", "list", { path: "/home/sprite/t", pattern: "socket" });
  assert.match(text, /"type":"other"/);
});

test("links that lead to each other end", async () => {
  await shell("cd ~/t; ln -s loop1 loop2; ln -s loop2 loop1; ln -s loop1/x through");
  for (const path of ["loop1", "loop1/x", "through"]) {
    refusedWith(await read(`/home/sprite/t/${path}`), "ELOOP");
    refusedWith(await write(`/home/sprite/t/${path}`), "ELOOP");
  }
});

test("a directory that becomes a link and back while files are written leads nowhere else", async () => {
  await shell("mkdir -p ~/swap/real ~/swap/elsewhere");
  const swapping = python(`
import os
os.chdir("/home/sprite/swap")
while not os.path.exists("stop"):
    os.rename("real", "kept"); os.symlink("${outside}", "real")
    os.unlink("real"); os.rename("kept", "real")
`);
  const codes = new Map<string, number>();
  for (let round = 0; round < 60; round += 1) {
    const path = `/home/sprite/swap/real/${round}`;
    const answers = await Promise.all([
      call("PUT", "write", { path, mkdirParents: "false" }, "x"),
      read("/home/sprite/swap/real/secret"),
    ]);
    for (const { status, code, text } of answers) {
      assert.notEqual(text, "of the host");
      const key = `${status} ${String(code)}`;
      codes.set(key, (codes.get(key) ?? 0) + 1);
    }
  }
  await write("/home/sprite/swap/stop");
  await swapping;
  assert.deepEqual(await readdir(outside), ["secret"]);
  assert.ok(![...codes.keys()].some((key) => key.startsWith("500")), [...codes].join("; "));
});

test("deleting a tree follows no link, also when directories become links meanwhile", async () => {
  await shell("mkdir -p ~/precious && echo 1 > ~/precious/file && cp -r ~/precious ~/kept");
  const swapping = python(`
import os
os.chdir("/home/sprite")
for n in range(1000000):
    if os.path.exists("stop"): break
    try:
        os.makedirs("tree/sub/a", exist_ok=True)
        os.rename("tree/sub", "tree/old"); os.symlink("/home/sprite/precious", "tree/sub")
        os.unlink("tree/sub"); os.rename("tree/old", "tree/sub")
    except OSError: pass
`);
  for (let round = 0; round < 60; round += 1) {
    await call("DELETE", "delete", { path: "/home/sprite/tree", recursive: "true" });
  }
  await write("/home/sprite/stop");
  await swapping;
  assert.equal(await shell("cat ~/precious/file"), "1\n");
});

test("changing a tree's modes and owners follows no link", async () => {
  await shell(
    "mkdir -p ~/own/in && cd ~/own && echo 1 > in/f && ln -s /etc/shadow l && ln -s /etc d",
  );
  const before = await shell("stat -c %a:%u /etc/shadow /etc");
  const path = "/home/sprite/own";
  assert.equal((await call("POST", "chmod", { path, mode: "0777", recursive: true })).status, 200);
  assert.equal((await call("POST", "chown", { path, uid: 33, recursive: true })).status, 200);
  assert.equal(await shell("stat -c %a:%u /etc/shadow /etc"), before);
  assert.equal(await shell("stat -c %a:%u ~/own/in/f; stat -c %u ~/own/l"), "777:33\n33\n");
});

test("names and paths that are too long, or hold a NUL, are refused by name", async () => {
  refusedWith(await write(`/home/sprite/${"n".repeat(256)}`), "ENAMETOOLONG");
  refusedWith(await write(`/home/sprite/${"d/".repeat(2100)}f`), "ENAMETOOLONG");
  refusedWith(await read("/home/sprite/a\0b"), "EINVAL");
  refusedWith(await call("POST", "rename", { source: "/a\0", dest: "/b" }), "EINVAL");
});

test("names may be any bytes: listed, copied and deleted with what holds them", async () => {
  const made = `
import os
os.makedirs(b"/home/sprite/bytes/\\xff\\xfe"); open(b"/home/sprite/bytes/\\xff\\xfe/\\x80", "w").write("1")
open("/home/sprite/bytes/a\\n\\"b\\u00e9", "w").write("2")
`;
  await python(made);
  const path = "/home/sprite/bytes";
  const { text } = await call("GET", "list", { path, recursive: "true" });
  const { entries } = JSON.parse(text) as { entries: Array<{ name: string; type: string }> };
  assert.deepEqual(entries.map(({ name }) => name).slice(0, 1), ['a\n"b\u00e9']);
  assert.equal(entries.length, 3);
  assert.equal((await read(`${path}/a\n"b\u00e9`)).text, "2");
  await call("POST", "copy", { source: path, dest: "/home/sprite/bytes2", recursive: true });
  const listed = await python('import os; print(os.listdir(b"/home/sprite/bytes2/\\xff\\xfe"))');
  assert.equal(listed.trim(), "[b'\\x80']");
  for (const each of [path, "/home/sprite/bytes2"]) {
    const deleted = await call("DELETE", "delete", { path: each, recursive: "true" });
    assert.equal(deleted.status, 200, deleted.text);
  }
});

test("100,000 entries are listed in order, and removed", async () => {
  const path = "/dev/shm/many";
  await python(`
import os
os.mkdir("${path}")
for n in range(100000): os.mknod("${path}/%06d" % n)
`);
  const { text } = await call("GET", "list", { path });
  const { entries, count } = JSON.parse(text) as {
    entries: Array<{ name: string }>;
    count: number;
  };
  assert.deepEqual([count, entries.length], [100_000, 100_000]);
  assert.equal(entries[99_999]?.name, "099999");
  const { text: deleted } = await call("DELETE", "delete", { path, recursive: "true" });
  assert.deepEqual(JSON.parse(deleted), { deleted: [path], count: 100_001 });
});

test("directories nested without end are refused, and hold nothing up", async () => {
  await python(`
import os
os.chdir("/dev/shm")
for n in range(1200): os.mkdir("d"); os.chdir("d")
`);
  for (const [method, verb] of [
    ["DELETE", "delete"],
    ["GET", "list"],
  ] as const) {
    const answer = await call(method, verb, { path: "/dev/shm/d", recursive: "true" }).catch(
      (error: unknown) => ({ status: 0, code: "broken off", text: String(error) }) as Answer,
    );
    refusedWith(answer, "ENAMETOOLONG", "broken off");
  }
  assert.equal((await write("/dev/shm/after")).status, 200);
  await shell("rm -rf /dev/shm/d");
});

test("a sparse file is read in part, and copied as it is", async () => {
  await shell("cd ~; truncate -s 40G sparse; printf end | dd of=sparse bs=1 seek=30G conv=notrunc");
  const source = "/home/sprite/sparse";
  const end = await call("GET", "read", {
    path: source,
    start: 30 * 2 ** 30,
    end: 30 * 2 ** 30 + 3,
  });
  assert.deepEqual([end.status, end.text], [206, "end"]);
  const { text } = await call("POST", "copy", { source, dest: "/home/sprite/sparse2" });
  assert.equal((JSON.parse(text) as { totalBytes: number }).totalBytes, 40 * 2 ** 30);
  const facts = await shell(
    "cd ~; stat -c '%s' sparse2; test $(stat -c %b sparse2) -lt 64 && echo thin",
  );
  assert.equal(facts, `${40 * 2 ** 30}\nthin\n`);
});

test("a file that grows while it is read is read as long as it was", async () => {
  await write("/home/sprite/grow");
  const growing = python(`
import os, time
f = open("/home/sprite/grow", "ab", buffering=0)
for n in range(10000):
    if os.path.exists("/home/sprite/grown"): break
    f.write(b"x" * 1024); time.sleep(0.0005)
`);
  for (let round = 0; round < 10; round += 1) {
    const { text, headers, status } = await read("/home/sprite/grow");
    if (status === 200) assert.equal(text.length, Number(headers.get("content-length")));
  }
  await write("/home/sprite/grown");
  await growing;
});

test("a file that becomes shorter while it is read is never padded: the answer breaks off", async () => {
  await shell("head -c 64M /dev/zero > ~/short");
  const download = await server.request("/v1/sprites/tricks/fs/read?path=/home/sprite/short");
  const reader = download.body?.getReader();
  assert.ok(reader);
  await reader.read();
  await shell("truncate -s 100 ~/short");
  await assert.rejects(async () => {
    while (!(await reader.read()).done);
  });
});

test("of a file with two names, one gets the new content and the other keeps the old", async () => {
  await shell("cd ~; echo old > one; ln one two");
  await write("/home/sprite/one", "new");
  assert.equal(await shell("cd ~; cat one two"), "newold\n");
  await call("DELETE", "delete", { path: "/home/sprite/one" });
  assert.equal((await read("/home/sprite/two")).text, "old\n");
});

test("the root can neither be deleted, renamed nor replaced", async () => {
  for (const path of ["/", "/..", "//"]) {
    refusedWith(await call("DELETE", "delete", { path, recursive: "true" }), "EBUSY");
    refusedWith(await call("POST", "rename", { source: path, dest: "/x" }), "EBUSY");
    refusedWith(await write(path), "EBUSY", "EISDIR");
  }
  assert.equal(await shell("echo still here"), "still here\n");
});

test("a rename stays within a file system, and a directory does not move into itself", async () => {
  await write("/home/sprite/move/in/f");
  const rename = async (source: string, dest: string): Promise<Answer> =>
    await call("POST", "rename", { source, dest });
  refusedWith(await rename("/home/sprite/move", "/dev/shm/move"), "EXDEV");
  refusedWith(await rename("/home/sprite/move", "/home/sprite/move/in/x"), "EINVAL");
  refusedWith(
    await rename("/home/sprite/move/in/f", "/home/sprite/move/in"),
    "EISDIR",
    "ENOTEMPTY",
  );
  const copy = { source: "/home/sprite/move", dest: "/home/sprite/move/in/x", recursive: true };
  refusedWith(await call("POST", "copy", copy), "EINVAL");
  // The same by another name.
  await shell("ln -s move ~/alias");
  const alias = await call("POST", "copy", { ...copy, dest: "/home/sprite/alias/in/x" });
  assert.ok(alias.status === 400 || alias.status === 200, alias.text.slice(0, 200));
});

test("what is shown read-only stays as it is", async () => {
  for (const path of ["/.sprite/llm.txt", "/.sprite/bin/planted", "/.sprite/bin/busybox"]) {
    refusedWith(await write(path), "EROFS", "EBUSY");
    refusedWith(await call("DELETE", "delete", { path }), "EROFS", "EBUSY", "ENOENT");
    refusedWith(await call("POST", "chmod", { path, mode: "0777" }), "EROFS", "ENOENT");
  }
});

test("a full file system refuses a file whole, with ENOSPC", async () => {
  // /dev is of memory, and 64 MiB.
  const body = new Uint8Array(65 * 1024 * 1024);
  const answer = await call("PUT", "write", { path: "/dev/large" }, body);
  assert.deepEqual([answer.status, answer.code], [507, "ENOSPC"]);
  assert.equal(await shell("ls -A /dev | grep -c -e large -e opensprites || true"), "0\n");
  assert.equal((await call("PUT", "write", { path: "/dev/small" }, "x")).status, 200);
});

test("a sprite's user table can be anything: a name is then no user", async () => {
  const swap = "cp /etc/passwd /etc/passwd.kept; rm /etc/passwd; mkfifo /etc/passwd";
  await shell(`sudo sh -c "${swap}"`);
  const chown = { path: "/home/sprite/t", uid: "sprite" };
  refusedWith(await call("POST", "chown", chown), "EINVAL");
  await call("DELETE", "delete", { path: "/etc/passwd" });
  await call("POST", "rename", { source: "/etc/passwd.kept", dest: "/etc/passwd" });
  assert.equal((await call("POST", "chown", chown)).status, 200);
  refusedWith(await call("POST", "chown", { ...chown, uid: "nobody-here" }), "EINVAL");
  refusedWith(await call("POST", "chown", { ...chown, uid: 65_536 }), "EINVAL");
});

async function residentMb(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024);
}

test("clients that read nothing and send nothing cost nobody else anything", async () => {
  await shell("head -c 32M /dev/zero > ~/t/slow");
  const before = await residentMb(server.pid);
  const stalled = await Promise.all(
    Array.from({ length: 20 }, async (_, index) => {
      const target = `${server.url}/v1/sprites/tricks/fs/`;
      const isRead = index % 2 === 0;
      const open = request(
        isRead
          ? `${target}read?path=/home/sprite/t/slow`
          : `${target}write?path=/home/sprite/t/never`,
        {
          method: isRead ? "GET" : "PUT",
          headers: {
            authorization: `Bearer ${server.token}`,
            ...(isRead ? {} : { "content-length": 1e9 }),
          },
        },
      );
      open.on("error", () => undefined);
      if (isRead) {
        open.end();
        await once(open, "response");
      } else {
        open.flushHeaders();
      }
      return open;
    }),
  );
  for (let round = 0; round < 5; round += 1) {
    assert.equal((await write("/home/sprite/t/quick")).status, 200);
    assert.equal((await read("/home/sprite/t/quick")).text, "x");
  }
  // Ten times 32 MB wait in the file, not in the server.
  const grownMb = (await residentMb(server.pid)) - before;
  assert.ok(grownMb < 120, `the server grew by ${grownMb} MB`);
  for (const open of stalled) open.destroy();
});

test("an agent that is killed takes its helper along, and the next one has its own", async () => {
  await write("/home/sprite/t/before");
  const old = await fileHelpersOf(server.places);
  assert.equal(old.length, 1);
  const [agent] = await childrenOf(server.places, "sprite");
  process.kill(agent?.pid ?? 0, "SIGKILL");
  const isGone = (): boolean => !old.some((pid) => existsSync(`/proc/${pid}`));
  assert.ok(await waitUntil(isGone, { timeoutMs: 30_000 }));
  const isBack = async (): Promise<boolean> => (await write("/home/sprite/t/after")).status === 200;
  assert.ok(await waitUntil(isBack, { timeoutMs: 30_000 }));
  assert.equal((await read("/home/sprite/t/before")).text, "x");
});

test("whoever the helper is, it can do no more than the sprite's root can with files", async () => {
  await write("/home/sprite/t/awake");
  const pids = await fileHelpersOf(server.places);
  const helpers = await Promise.all(
    pids.map(async (pid) => await readFile(`/proc/${pid}/status`, "utf8")),
  );
  assert.ok(helpers.length > 0);
  for (const text of helpers) {
    // chown, dac_override, fowner, fsetid
    for (const set of ["CapEff", "CapPrm", "CapBnd"])
      assert.match(text, new RegExp(`${set}:\\s0+1b\n`));
    const uid = Number(/Uid:\s(\d+)/.exec(text)?.[1]);
    assert.ok(uid >= 65_536, "no user of the host");
  }
  const inside = await shell("ps | grep -c file-helper-process || true");
  assert.ok(Number(inside) <= 1, "not to be seen inside");
});

test("a directory is not copied into itself by way of a link, and what fails can be removed", async () => {
  await shell("cd ~/t; mkdir -p self/d; echo 1 > self/d/f; ln -s self/d same");
  const source = "/home/sprite/t/self";
  for (const dest of ["/home/sprite/t/same/b", "/home/sprite/t/self/d/b"]) {
    refusedWith(await call("POST", "copy", { source, dest, recursive: true }), "EINVAL");
  }
  assert.equal(await shell("cd ~/t; find self | sort"), "self\nself/d\nself/d/f\n");
  // A directory is there where the copy has a file.
  await shell("cd ~/t; mkdir -p half/d/f half/e; rmdir half/e");
  const half = { source, dest: "/home/sprite/t/half", recursive: true };
  refusedWith(await call("POST", "copy", half), "EEXIST");
  await shell(
    "cd ~/t; mkdir -p from/a/b; echo 1 > from/a/b/f; mkdir -p into; cd from/a; for i in $(seq 300); do mkdir d && cd d || exit 0; done",
  );
  const deep = { source: "/home/sprite/t/from", dest: "/home/sprite/t/into/new", recursive: true };
  refusedWith(await call("POST", "copy", deep), "ENAMETOOLONG");
  await shell("cd ~/t; rm -r into");
});
