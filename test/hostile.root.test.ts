/** What a guest can do to itself, and a machine to a sprite, without it being lost. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmod, mkdtemp, readdir, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { openVolume } from "../src/storage/volume/open-volume.ts";
import { childrenOf } from "./support/processes.ts";
import { TestServer } from "./support/server.ts";

const run = promisify(execFile);

let server: TestServer;
before(async () => {
  server = await TestServer.start();
});
after(() => server?.close());

interface Answer {
  status: number;
  text: string;
}

async function call(method: string, path: string): Promise<Answer> {
  const signal = AbortSignal.timeout(30_000);
  const response = await server.request(`/v1/sprites/${path}`, { method, signal });
  return { status: response.status, text: await response.text() };
}

/**
 * Does to the only running sprite's disk what keeps its root file system from being mounted the
 * next time.
 */
async function wreckDisk(
  wreck = (disk: string): string => `mv ${disk}/upper ${disk}/gone && touch ${disk}/upper`,
): Promise<void> {
  const [agent, ...others] = await childrenOf(server.places, "sprite");
  const sprites = join(server.places.runDirectory, "sprites");
  const [name, ...otherNames] = await readdir(sprites);
  assert.ok(agent !== undefined && name !== undefined && others.length + otherNames.length === 0);
  const disk = join(sprites, name, "disk");
  const script = `${wreck(disk)} && sync`;
  await run("nsenter", ["--mount", `--target=${agent.pid}`, "sh", "-c", script]);
}

test("a guest that makes its own boot files huge boots", async () => {
  const sprite = await server.client().createSprite("huge");
  await sprite.execFile("sudo", ["truncate", "-s", "50G", "/etc/hostname"]);
  await sprite.execFile("sudo", ["truncate", "-s", "50G", "/etc/resolv.conf"]);
  assert.equal((await call("POST", "huge/restart")).status, 200);
  const sizes = await sprite.execFile("stat", ["-c", "%s", "/etc/hostname", "/etc/resolv.conf"]);
  for (const size of String(sizes.stdout).trim().split("\n")) assert.ok(Number(size) < 100, size);
  assert.equal((await sprite.execFile("cat", ["/etc/hostname"])).stdout, "huge\n");
  await sprite.destroy();
});

test("a sprite that does not start any more says so, and can be restored", async () => {
  const sprite = await server.client().createSprite("wrecked");
  await sprite.execFile("sh", ["-c", "echo good > ~/state; sync"]);
  assert.match((await call("POST", "wrecked/checkpoint")).text, /"type":"complete"/);
  await wreckDisk();
  const restarted = await call("POST", "wrecked/restart");
  assert.equal(restarted.status, 503, restarted.text);
  assert.match(restarted.text, /start_failed/);
  await assert.rejects(sprite.execFile("true"), "a command is refused and does not hang");
  assert.match((await call("GET", "wrecked/check")).text, /"status":"not_started"/);
  assert.match((await call("GET", "wrecked/checkpoints")).text, /"id":"v0"/);
  const restored = await call("POST", "wrecked/checkpoints/v0/restore");
  assert.match(restored.text, /"type":"complete"/);
  assert.equal((await sprite.execFile("cat", ["/home/sprite/state"])).stdout, "good\n");
  assert.match((await call("GET", "wrecked/check")).text, /"status":"ok"/);
  await sprite.destroy();
});

test("a disk whose layers are links to the host's directories shows and changes nothing of them", async () => {
  const sprite = await server.client().createSprite("linked");
  await sprite.execFile("true", []);
  const victim = await mkdtemp(join(tmpdir(), "opensprites-victim-"));
  try {
    await writeFile(join(victim, "secret"), "the host's");
    await chmod(victim, 0o751);
    await wreckDisk((disk) => `cd ${disk} && mv upper gone && ln -s ${victim} upper`);
    assert.match((await call("POST", "linked/checkpoint")).text, /"type":"complete"/);
    const restarted = await call("POST", "linked/restart");
    assert.equal(restarted.status, 503, restarted.text);
    assert.match(restarted.text, /start_failed/);
    assert.deepEqual(await readdir(victim), ["secret"]);
    assert.equal((await stat(victim)).mode & 0o7777, 0o751);
  } finally {
    await rm(victim, { recursive: true });
    await sprite.destroy();
  }
});

test("a cache directory deleted under a running sprite costs nothing", async () => {
  const sprite = await server.client().createSprite("uncached");
  await sprite.execFile("sh", ["-c", "head -c 3000000 /dev/urandom > ~/a; sync"]);
  assert.match((await call("POST", "uncached/checkpoint")).text, /"type":"complete"/);
  await rm(join(server.dataDirectory, "cache"), { recursive: true });
  const write = "head -c 3000000 /dev/urandom > ~/b; sha256sum ~/a ~/b > ~/sums; sync";
  await sprite.execFile("sh", ["-c", write]);
  assert.match((await call("POST", "uncached/checkpoint")).text, /"type":"complete"/);
  assert.match((await call("GET", "uncached/check")).text, /"status":"ok"/);
  assert.equal((await call("POST", "uncached/restart")).status, 200);
  await sprite.execFile("sha256sum", ["-c", "--quiet", "/home/sprite/sums"]);
  await sprite.destroy();
});

test("a sprite without its home directory still runs commands", async () => {
  const sprite = await server.client().createSprite("homeless");
  await sprite.execFile("sudo", ["rm", "-rf", "/home/sprite"]);
  assert.equal((await sprite.execFile("pwd", [])).stdout, "/\n");
  const named = sprite.execFile("pwd", [], { cwd: "/home/sprite" });
  await assert.rejects(named, { exitCode: 126 });
  await sprite.destroy();
});

test("a restore from a damaged checkpoint says so and goes back", async () => {
  const sprite = await server.client().createSprite("damaged");
  await sprite.execFile("sh", ["-c", "echo one > ~/state; sync"]);
  assert.match((await call("POST", "damaged/checkpoint")).text, /"type":"complete"/);
  const bucket = join(server.dataDirectory, "bucket/sprites");
  for (const path of await readdir(bucket, { recursive: true })) {
    if (/\/data\/..\/./.test(path)) await truncate(join(bucket, path), 100);
  }
  await sprite.execFile("sh", ["-c", "echo two > ~/state; sync"]);
  const restored = await call("POST", "damaged/checkpoints/v0/restore");
  assert.match(restored.text, /"type":"error"/);
  assert.equal((await sprite.execFile("cat", ["/home/sprite/state"])).stdout, "two\n");
  await sprite.destroy();
});

/** Opens a sprite's disk from elsewhere, as a server does that thinks this one is dead, and lets it go again. */
async function takeOver(prefix: string): Promise<void> {
  const bucket = join(server.dataDirectory, "bucket");
  await rm(join(bucket, "servers"), { recursive: true });
  const cacheDirectory = await mkdtemp(join(tmpdir(), "opensprites-elsewhere-"));
  const volume = await openVolume({
    ...{ bucket, prefix, cacheDirectory, server: "elsewhere", readOnly: false },
    ...{ cacheSizeBytesMax: 2 ** 30, sizeBytes: 2 ** 30, syncIntervalMs: 1_000 },
  });
  await volume.close({ discard: false });
  await rm(cacheDirectory, { recursive: true });
}

test("a sprite whose disk another server has taken over stops and says why", async () => {
  const sprite = await server.client().createSprite("fenced");
  const { id } = JSON.parse((await call("GET", "fenced")).text) as { id: string };
  await sprite.execFile("sh", ["-c", "echo stored > ~/state; sync"]);
  assert.match((await call("POST", "fenced/checkpoint")).text, /"type":"complete"/);
  await takeOver(`sprites/${id}`);

  const spinning = sprite.execFile("sh", ["-c", "while date > ~/lost; do sync; sleep 0.1; done"]);
  await assert.rejects(spinning, "the guest is stopped");
  assert.match((await call("POST", "fenced/exec?cmd=true")).text, /"unavailable".*taken over/);
  assert.match((await call("GET", "fenced/check")).text, /"not_started".*taken over/);
  assert.equal((await call("POST", "fenced/restart")).status, 200);
  const { stdout } = await sprite.execFile("sh", ["-c", "cat ~/state; ls ~/lost || true"]);
  assert.equal(stdout, "stored\n");
  const check = JSON.parse((await call("GET", "fenced/check")).text) as {
    sync: { orphan: string };
  };
  assert.ok(
    (await readdir(check.sync.orphan)).includes("orphan.json"),
    "what was lost can be seen",
  );
  await sprite.destroy();
});

test("a data directory that everybody may enter keeps its sprites' bytes to itself", async () => {
  const dataDirectory = await mkdtemp(join(tmpdir(), "opensprites-open-"));
  await chmod(dataDirectory, 0o755);
  const open = await TestServer.start({ dataDirectory });
  try {
    for (const name of ["bucket", "cache", "orgs"]) {
      const { mode } = await stat(join(dataDirectory, name));
      assert.equal(mode & 0o777, 0o700, name);
    }
  } finally {
    await open.close();
  }
});

test("no other account of the machine reaches a sprite's own socket or files", async () => {
  const sprite = await server.client().createSprite("private");
  const sprites = join(server.places.runDirectory, "sprites");
  for (const name of await readdir(sprites)) {
    for (const path of ["private/dot-sprite/api.sock", "private/dot-sprite"]) {
      const looking = run("setpriv", [
        ...["--reuid=65534", "--regid=65534", "--clear-groups"],
        ...["stat", join(sprites, name, path)],
      ]);
      await assert.rejects(looking, /Permission denied/, path);
    }
  }
  const inside = await sprite.execFile("sprite-env", ["checkpoints", "list"]);
  assert.equal(String(inside.stdout).trim(), "[]", "inside it is reached as before");
  await sprite.destroy();
});
