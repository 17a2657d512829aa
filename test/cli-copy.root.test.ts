/** `sprite cp` and `exec --file` against a real sprite. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, describe, test } from "node:test";
import { TestServer } from "./support/server.ts";

const spritePath = join(resolve(import.meta.dirname, ".."), "bin/sprite");

describe("sprite cp", () => {
  let server: TestServer;
  const directory = mkdtempSync(join(tmpdir(), "sprite-cp-"));
  before(async () => {
    server = await TestServer.start();
    await server.client().createSprite("box");
  });
  after(async () => {
    await server.close();
    rmSync(directory, { recursive: true, force: true });
  });

  async function sprite(
    args: string[],
    options: { input?: Buffer; url?: string } = {},
  ): Promise<{ code: number; stdout: Buffer; stderr: string }> {
    const child = spawn(spritePath, args, {
      cwd: directory,
      env: {
        PATH: process.env["PATH"],
        HOME: directory,
        SPRITES_API_URL: options.url ?? server.url,
        SPRITE_TOKEN: server.token,
        SPRITE: "box",
      },
    });
    child.stdin.on("error", () => undefined);
    child.stdin.end(options.input ?? "");
    const stdout: Buffer[] = [];
    let stderr = "";
    child.stdout.on("data", (part: Buffer) => stdout.push(part));
    child.stderr.on("data", (part: Buffer) => (stderr += String(part)));
    const [code] = (await once(child, "close")) as [number];
    return { code, stdout: Buffer.concat(stdout), stderr };
  }

  async function done(
    args: string[],
    options: { input?: Buffer; url?: string } = {},
  ): Promise<Buffer> {
    const { code, stdout, stderr } = await sprite(args, options);
    assert.equal(code, 0, `sprite ${args.join(" ")}: ${stderr}`);
    return stdout;
  }

  test("a directory comes back as it went: contents, modes, links, odd names, empty directories", async () => {
    const tree = join(directory, "tree");
    mkdirSync(join(tree, "deep/er"), { recursive: true });
    mkdirSync(join(tree, "empty"));
    mkdirSync(join(tree, "only-links"));
    writeFileSync(join(tree, "run.sh"), "#!/bin/sh\necho ran\n");
    chmodSync(join(tree, "run.sh"), 0o755);
    writeFileSync(join(tree, "secret"), "s", { mode: 0o600 });
    writeFileSync(join(tree, "deep/er/large"), randomBytes(2_500_000));
    writeFileSync(join(tree, "nothing"), "");
    for (const name of ["a b", "-dash", "quote'\"", "new\nline", "grüße", "a:b"]) {
      writeFileSync(join(tree, "deep", name), name);
    }
    symlinkSync("../run.sh", join(tree, "only-links/to-run"));
    symlinkSync("no such place", join(tree, "only-links/broken link"));
    chmodSync(join(tree, "empty"), 0o700);

    await done(["cp", "tree", "box:/srv/"]);
    assert.equal(String(await done(["exec", "--", "/srv/tree/only-links/to-run"])), "ran\n");
    const owner = await done([
      "exec",
      "--",
      "stat",
      "-c",
      "%a %U",
      "/srv/tree/secret",
      "/srv/tree/empty",
    ]);
    assert.equal(String(owner), "600 sprite\n700 sprite\n");
    const counted = await done(["cp", ":/srv/tree", "back", "--json"]);
    assert.partialDeepStrictEqual(JSON.parse(String(counted)), { files: 12, problems: [] });
    assert.deepEqual(describeTree(join(directory, "back")), describeTree(tree));
  });

  test("single files, into a directory and under another name, from and to pipes", async () => {
    writeFileSync(join(directory, "one"), "one\n");
    await done(["cp", "one", ":"]);
    await done(["cp", "one", "box:new/place/two"]);
    assert.equal(String(await done(["exec", "--", "cat", "one", "new/place/two"])), "one\none\n");
    await done(["cp", "-", ":piped"], { input: Buffer.from("from stdin") });
    assert.equal(String(await done(["cp", ":piped", "-"])), "from stdin");
    await done(["cp", ":one", ":piped", "."]);
    assert.equal(readFileSync(join(directory, "piped"), "utf8"), "from stdin");
    await done(["cp", "one", "piped", ":/tmp/"]);
    assert.equal(String(await done(["exec", "--", "cat", "/tmp/piped"])), "from stdin");
  });

  test("exec --file copies before the command starts", async () => {
    writeFileSync(join(directory, "job"), "echo job\n");
    const args = ["exec", "--file", "job:/tmp/job.sh", "--file", "one:~/here", "--"];
    assert.equal(
      String(await done([...args, "sh", "-c", "sh /tmp/job.sh; cat here"])),
      "job\none\n",
    );
    const missing = await sprite(["exec", "--file", "nowhere:/tmp/x", "--", "true"]);
    assert.equal(missing.code, 1);
    assert.match(missing.stderr, /nowhere/);
  });

  test("a download whose connection breaks goes on where it stopped", async () => {
    const size = 6_000_000;
    await done([
      "exec",
      "--",
      "sh",
      "-c",
      `head -c ${size} /dev/urandom > big; sha256sum big > big.sum`,
    ]);
    const sum = String(await done(["exec", "--", "cat", "big.sum"])).slice(0, 64);
    const relay = await CuttingRelay.start(new URL(server.url), 2_000_000);
    try {
      await done(["cp", ":big", "big"], { url: relay.url });
      assert.ok(
        relay.cuts >= 1 && relay.sentBytes < size * 1.5,
        `${relay.cuts}, ${relay.sentBytes}`,
      );
    } finally {
      relay.stop();
    }
    const content = readFileSync(join(directory, "big"));
    assert.equal(createHash("sha256").update(content).digest("hex"), sum);
    assert.deepEqual(
      readdirSync(directory).filter((name) => name.includes("sprite-part")),
      [],
    );
  });

  test("links that a copy brought lead no later copy out of its directory", async () => {
    const outside = join(directory, "outside");
    mkdirSync(outside);
    writeFileSync(join(outside, "keys"), "mine\n");
    const inside = async (script: string): Promise<string> =>
      String(await done(["exec", "--", "sh", "-ec", script])).trim();
    // The name under which a beginning of this file would be kept, as its tag makes it.
    await inside(`mkdir trap; echo evil > trap/f; touch -d @1 trap/f; ln -s ${outside} trap/d`);
    const [number = "", size = ""] = (await inside("stat -c '%i %s' trap/f")).split(" ");
    const tag = [BigInt(number), BigInt(size), 1_000_000_000n].map((value) => value.toString(36));
    const mark = createHash("sha256")
      .update(`"${tag.join("-")}"`)
      .digest("hex")
      .slice(0, 12);
    await inside(`ln -s ${outside}/keys trap/.f.${mark}.sprite-part`);
    await done(["cp", ":trap", "."]);
    assert.equal(readlinkSync(join(directory, `trap/.f.${mark}.sprite-part`)), `${outside}/keys`);
    await inside("cd trap; rm d .f.*; mkdir d; echo evil > d/keys");
    await done(["cp", ":trap", "."]);
    assert.equal(readFileSync(join(outside, "keys"), "utf8"), "mine\n");
    assert.equal(readFileSync(join(directory, "trap/d/keys"), "utf8"), "evil\n");
    assert.equal(readFileSync(join(directory, "trap/f"), "utf8"), "evil\n");
  });

  test("what cannot be copied is told, and leaves nothing half done", async () => {
    for (const args of [
      ["one", "two"],
      ["one"],
      [":one", "other:x"],
      ["-", ":/tmp/"],
      ["one", "piped", ":one"],
    ]) {
      const wrong = await sprite(["cp", ...args, "--json"]);
      assert.equal(wrong.code, 1, args.join(" "));
      assert.partialDeepStrictEqual(JSON.parse(wrong.stderr), { error: "usage" });
    }
    const missing = await sprite(["cp", ":nowhere", "here", "--json"]);
    assert.partialDeepStrictEqual(JSON.parse(missing.stderr), { error: "ENOENT" });
    assert.ok(!existsSync(join(directory, "here")));
    assert.match((await sprite(["cp", "nowhere", ":x"])).stderr, /nowhere/);
    await done(["exec", "--", "sh", "-c", "mkdir odd && mkfifo odd/fifo && echo x > odd/file"]);
    const partly = await sprite(["cp", ":odd", "odd"]);
    assert.equal(partly.code, 1);
    assert.match(partly.stderr, /left out: .*fifo/);
    assert.deepEqual(readdirSync(join(directory, "odd")), ["file"]);
  });
});

function describeTree(path: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const name of readdirSync(path, { recursive: true, encoding: "utf8" })) {
    const stats = lstatSync(join(path, name));
    const mode = (stats.mode & 0o777).toString(8);
    if (stats.isSymbolicLink()) found[name] = `-> ${readlinkSync(join(path, name))}`;
    else if (stats.isDirectory()) found[name] = `directory ${mode}`;
    else {
      const hash = createHash("sha256")
        .update(readFileSync(join(path, name)))
        .digest("hex");
      found[name] = `${mode} ${hash}`;
    }
  }
  return found;
}

/** Stands before the server and breaks the first connections that carry much towards the client. */
class CuttingRelay {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  cuts = 0;
  sentBytes = 0;

  static async start(target: URL, cutAfterBytes: number): Promise<CuttingRelay> {
    const relay = new CuttingRelay(target, cutAfterBytes);
    relay.#server.listen(0, "127.0.0.1");
    await once(relay.#server, "listening");
    return relay;
  }

  private constructor(target: URL, cutAfterBytes: number) {
    this.#server = createServer((near) => {
      const far = connect(Number(target.port), target.hostname);
      let carried = 0;
      for (const socket of [near, far]) {
        this.#sockets.add(socket);
        socket.on("error", () => socket.destroy());
        socket.once("close", () => {
          near.destroy();
          far.destroy();
        });
      }
      near.pipe(far);
      far.on("data", (piece: Buffer) => {
        carried += piece.length;
        this.sentBytes += piece.length;
        if (carried > cutAfterBytes && this.cuts < 2) {
          this.cuts++;
          // In order: a reset would also throw away what had arrived and was not read yet, however much that is.
          far.pause();
          near.end();
        } else if (!near.write(piece)) {
          far.pause();
          near.once("drain", () => far.resume());
        }
      });
    });
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  stop(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }
}
