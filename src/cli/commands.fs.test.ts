import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { fakeToken } from "./testing/fake-server.ts";
import { SpriteBench } from "./testing/run-sprite.ts";

const binPath = fileURLToPath(new URL("../../bin", import.meta.url));

describe("sprite commands", () => {
  let bench: SpriteBench;
  before(async () => {
    bench = await SpriteBench.start();
  });
  after(async () => {
    await bench.stop();
  });
  beforeEach(() => {
    bench.server.requests.length = 0;
    delete bench.server.faults.cutStreams;
    delete bench.server.faults.restoreError;
    bench.server.sprites.clear();
    for (const name of ["box", "build", "web"]) bench.server.addSprite(name);
    rmSync(join(bench.directory, ".sprite"), { force: true, recursive: true });
    rmSync(join(bench.home, ".sprites"), { force: true, recursive: true });
  });
  const jsonOf = async (...args: string[]): Promise<unknown> => {
    const result = await bench.run([...args, "--json"]);
    assert.equal(result.exitCode, 0, result.stderr);
    assert.equal(result.stderr, "");
    return JSON.parse(result.stdout);
  };

  test("list follows every page, filters, and is empty without words on stdout", async () => {
    const all = (await jsonOf("list")) as { name: string }[];
    assert.deepEqual(
      all.map(({ name }) => name),
      ["box", "build", "web"],
    );
    const some = await bench.run(["ls", "--prefix", "b"]);
    assert.match(
      some.stdout,
      /^NAME +STATUS +ACTIVE +CREATED +URL\nbox +running .*\nbuild +running .*\n$/,
    );
    const none = await bench.run(["list", "--prefix", "zzz"]);
    assert.equal(none.stdout, "");
    assert.match(none.stderr, /sprite create NAME/);
  });

  test("list --watch prints one line a sprite", async () => {
    const result = await bench.run(["list", "-w", "--json"]);
    const lines = result.stdout.trimEnd().split("\n");
    assert.deepEqual(
      lines.map((line) => (JSON.parse(line) as { name?: string }).name),
      ["box", "build", "web", undefined],
    );
    assert.equal(result.exitCode, 1, "a watch that the server ended has not ended well");
  });

  test("create makes a sprite with labels, in a pipe without a console", async () => {
    const created = (await jsonOf("create", "fresh", "--label", "ci", "--label", "x")) as object;
    assert.partialDeepStrictEqual(created, { name: "fresh", labels: ["ci", "x"] });
    const named = await bench.run(["create"]);
    assert.match(named.stdout, /^Created [a-z]+-[a-z]+-\d{4}\n$/);
    const taken = await bench.run(["create", "fresh", "--json"]);
    assert.equal(taken.exitCode, 1);
    assert.partialDeepStrictEqual(JSON.parse(taken.stderr), {
      error: "already_exists",
      message: "a sprite fresh exists",
      status: 409,
    });
  });

  test("create --from asks for a fork", async () => {
    const of = async (...args: string[]): Promise<unknown> => {
      const created = (await jsonOf("create", ...args)) as { name: string };
      return bench.server.sprites.get(created.name)?.from;
    };
    assert.deepEqual(await of("copy", "--from", "box"), { sprite: "box" });
    assert.deepEqual(await of("old", "--from", "box@v3"), { sprite: "box", checkpoint: "v3" });
    assert.equal(await of("plain"), undefined);
    for (const from of ["", "@v1", "box@", "a@b@v1"]) {
      const result = await bench.run(["create", "odd", "--from", from]);
      assert.equal(result.exitCode, 1);
      assert.match(result.stderr, /--from takes a sprite's name/);
    }
    const missing = await bench.run(["create", "odd", "--from", "bos@v1"]);
    assert.equal(missing.exitCode, 1);
    assert.match(missing.stderr, /no sprite "bos".*\n.*Did you mean box/);
  });

  test("info, url and url update", async () => {
    assert.partialDeepStrictEqual(await jsonOf("info", "box"), { name: "box" });
    const text = await bench.run(["info", "-s", "box"]);
    assert.match(text.stdout, /^Name: +box\n/);
    assert.equal((await bench.run(["url", "-s", "box"])).stdout, "https://box-b7k2.sprites.test\n");
    await jsonOf("url", "update", "-s", "box", "--auth", "public");
    assert.partialDeepStrictEqual(await jsonOf("url", "-s", "box"), {
      url_settings: { auth: "public" },
    });
    assert.equal((await bench.run(["url", "update", "-s", "box", "--auth", "x"])).exitCode, 1);
  });

  test("why says in words what keeps a sprite awake, or why it sleeps", async () => {
    const awake = await bench.run(["why", "box"]);
    const because = "box is running\n  awake because of command make -j\\x1b[2J, for 1 min 30 s\n";
    assert.equal(awake.stdout, because);
    await bench.run(["sleep", "box"]);
    const asleep = await bench.run(["why", "box"]);
    assert.match(asleep.stdout, /^box is cold\n {2}slept 1 min 30 s ago: nothing went on\n/);
    assert.partialDeepStrictEqual(await jsonOf("why", "box"), { status: "cold" });
  });

  test("info has the sprite, what it does and what it holds, and does without what a server has no answer to", async () => {
    const awake = (await jsonOf("info", "box")) as object;
    assert.partialDeepStrictEqual(awake, {
      ...{ name: "box", status: "running", checkpoints: [], services: null },
      activity: { status: "running" },
    });
    const text = (await bench.run(["info", "box"])).stdout;
    assert.match(text, /\nStatus: +running\nWhy: +awake because of command make/);
    assert.match(text, /\nCheckpoints: +none\n/);
    await bench.run(["sleep", "box"]);
    const asleep = (await bench.run(["info", "box"])).stdout;
    assert.match(asleep, /\nStatus: +cold\nWhy: +slept 1 min 30 s ago: nothing went on\n/);
    assert.match(asleep, /\nLast running: +-\n/);
  });

  test("sleep --all puts every one that is awake to sleep, or those whose names begin so", async () => {
    const some = await jsonOf("sleep", "--all", "--prefix", "b");
    assert.deepEqual(some, { slept: ["box", "build"], failed: [] });
    assert.equal((await bench.run(["sleep", "--all"])).stdout, "web sleeps\n");
    const none = await bench.run(["sleep", "--all"]);
    assert.deepEqual([none.exitCode, none.stderr], [0, "No sprite is awake.\n"]);
    assert.equal((await bench.run(["sleep", "--all", "box"])).exitCode, 1);
  });

  test("durability is shown and changed", async () => {
    assert.equal((await bench.run(["durability", "-s", "box"])).stdout, "local\n");
    assert.equal((await bench.run(["durability", "durable", "-s", "box"])).stdout, "durable\n");
    const shown = { sprite: "box", durability: "durable" };
    assert.deepEqual(await jsonOf("durability", "-s", "box"), shown);
    assert.equal((await bench.run(["durability", "often", "-s", "box"])).exitCode, 1);
  });

  test("the sprite comes from -s, SPRITE_URL, SPRITE or .sprite, in this order", async () => {
    const nameBy = async (args: string[], env: Record<string, string>): Promise<string> =>
      (
        JSON.parse((await bench.run(["info", "--json", ...args], { env })).stdout) as {
          name: string;
        }
      ).name;
    await bench.run(["use", "web"]);
    assert.equal(await nameBy([], {}), "web");
    const viaName = { SPRITE: "build" };
    assert.equal(await nameBy([], viaName), "build");
    const viaUrl = { ...viaName, SPRITE_URL: `${bench.server.url}/v1/sprites/box` };
    assert.equal(await nameBy([], viaUrl), "box");
    assert.equal(await nameBy(["-s", "web"], viaUrl), "web");
  });

  test("use writes .sprite, shows and removes it", async () => {
    await bench.run(["use", "box"]);
    const path = join(bench.directory, ".sprite");
    assert.deepEqual(JSON.parse(readFileSync(path, "utf8")), {
      organization: "acme",
      sprite: "box",
    });
    assert.equal((await bench.run(["use"])).stdout, "box\n");
    assert.equal((await bench.run(["use", "--unset"])).stdout, "Removed .sprite.\n");
    const nothing = await bench.run(["info"]);
    assert.equal(nothing.exitCode, 1);
    assert.match(nothing.stderr, /no sprite chosen\n {2}Name one with -s NAME/);
    assert.match((await bench.run(["use", "bux"])).stderr, /Did you mean box\?/);
  });

  test("checkpoints are made, listed, shown, restored and deleted", async () => {
    const first = await bench.run([
      "checkpoint",
      "create",
      "-s",
      "box",
      "--comment",
      "clean \u001b",
    ]);
    assert.equal(first.stdout, "Checkpoint v0 created\n");
    assert.partialDeepStrictEqual(await jsonOf("checkpoint", "create", "-s", "box"), {
      id: "v1",
      history: ["v0"],
    });
    const table = await bench.run(["checkpoint", "list", "-s", "box", "--include-auto"]);
    assert.match(table.stdout, /\nv1 .*\nv0 +just now +- +1\.5 MiB +clean \\x1b\n$/);
    const info = await bench.run(["checkpoint", "info", "v0", "-s", "box"]);
    assert.match(info.stdout, /^Id: +v0\n/);
    assert.match(info.stdout, /\nSize: +1\.5 MiB\nUnique: +64 KiB, .*\nSynced: +yes\n$/);
    assert.equal((await bench.run(["restore", "v0", "-s", "box"])).stdout, "Restored v0\n");
    assert.deepEqual(await jsonOf("restore", "v0", "-s", "box"), {
      sprite: "box",
      restored: "v0",
      message: "Restored v0",
    });
    assert.deepEqual(await jsonOf("checkpoint", "delete", "v0", "-s", "box"), {
      id: "v0",
      deleted: true,
    });
    const unknown = await bench.run(["restore", "v0", "-s", "box"]);
    assert.equal(unknown.exitCode, 1);
    assert.match(unknown.stderr, /checkpoint not found: v0\n.*checkpoint list/);
  });

  test("a restore is undone, forced, and a disk repaired", async () => {
    await bench.run(["checkpoint", "create", "-s", "box"]);
    const undone = await bench.run(["restore", "--undo", "-s", "box"]);
    assert.equal(undone.stdout, "Restored from auto-1\n");
    assert.partialDeepStrictEqual(await jsonOf("repair", "box"), { sprite: "box", repaired: true });
    bench.server.requests.length = 0;
    await jsonOf("restore", "v0", "--force", "-s", "box");
    assert.match(
      bench.server.requests.at(-1)?.url ?? "",
      /\/checkpoints\/v0\/restore\?force=true$/,
    );
    for (const args of [["restore", "v0", "--undo"], ["restore"]]) {
      const wrong = await bench.run([...args, "-s", "box"]);
      assert.equal(wrong.exitCode, 1);
      assert.match(wrong.stderr, /--undo/);
    }
  });

  test("a restore that failed or broke off is never success", async () => {
    await bench.run(["checkpoint", "create", "-s", "box"]);
    bench.server.faults.restoreError = "disk full";
    const failed = await bench.run(["restore", "v0", "-s", "box"]);
    assert.equal(failed.exitCode, 1);
    assert.equal(failed.stderr, "sprite: box was not restored: disk full\n");
    bench.server.faults.cutStreams = true;
    for (const args of [
      ["restore", "v0"],
      ["checkpoint", "create"],
    ]) {
      const cut = await bench.run([...args, "-s", "box"]);
      assert.equal(cut.exitCode, 1);
      assert.match(cut.stderr, /not known/);
    }
  });

  test("destroy refuses in a pipe, unless forced", async () => {
    const refused = await bench.run(["destroy", "box"]);
    assert.equal(refused.exitCode, 1);
    assert.match(refused.stderr, /--force/);
    assert.deepEqual(bench.server.requests, []);
    assert.deepEqual(await jsonOf("destroy", "box", "--force"), { name: "box", destroyed: true });
    assert.match(
      (await bench.run(["destroy", "box", "--force"])).stderr,
      /there is no sprite "box"/,
    );
  });

  test("restart passes the server's words on", async () => {
    assert.equal((await bench.run(["restart", "box"])).stdout, "Restart of box: queued\n");
  });

  test("auth setup tries the token and stores it for its owner only", async () => {
    const none = { SPRITE_TOKEN: undefined };
    const path = join(bench.home, ".sprites", "sprites.json");
    const missing = await bench.run(["list"], { env: none });
    assert.match(
      missing.stderr,
      /no token .*\n.*sprite login\n.*bin\/spritesd token create --org local/,
    );
    const wrong = await bench.run(["auth", "setup", "--token", "a/b/c/wrong"], { env: none });
    assert.equal(wrong.exitCode, 1);
    assert.match(wrong.stderr, /refused the token; it was not stored/);
    assert.throws(() => statSync(path));

    const piped = await bench.run(["auth", "setup", "--token", "-"], {
      env: none,
      stdin: `${fakeToken}\n`,
    });
    assert.equal(piped.exitCode, 0, piped.stderr);
    assert.doesNotMatch(piped.stdout + piped.stderr, /secret/);
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.equal(statSync(join(bench.home, ".sprites")).mode & 0o777, 0o700);
    const { url } = bench.server;
    assert.deepEqual(JSON.parse(readFileSync(path, "utf8")), {
      version: "1",
      current_selection: { url, org: "acme" },
      urls: {
        [url]: {
          url,
          orgs: {
            acme: {
              name: "acme",
              keyring_key: "",
              use_keyring: false,
              sprites: {},
              api_token: fakeToken,
            },
          },
        },
      },
    });
    // The selection also says which server is meant.
    const stored = await bench.run(["list"], { env: { ...none, SPRITES_API_URL: undefined } });
    assert.equal(stored.exitCode, 0, stored.stderr);
    const status = await bench.run(["auth", "status"], { env: none });
    assert.match(status.stdout, /accepts the stored token for acme/);
    await bench.run(["logout"]);
    assert.equal((await bench.run(["list"], { env: none })).exitCode, 1);
  });

  test("a token can be stored while the server is away", async () => {
    const env = { SPRITE_TOKEN: undefined, SPRITES_API_URL: "http://127.0.0.1:1/" };
    const result = await bench.run(["auth", "setup", "--token", "opaque", "--json"], { env });
    assert.partialDeepStrictEqual(JSON.parse(result.stdout), {
      url: "http://127.0.0.1:1",
      org: "default",
      verified: false,
    });
  });

  test("api is curl with our token, which never stands among its arguments", async () => {
    const result = await bench.run(["api", "/sprites", "--", "-H", "X-Extra: 1"]);
    assert.equal(result.exitCode, 0, result.stderr);
    assert.match(result.stdout, /^\{"sprites":/);
    assert.equal(bench.server.requests[0]?.headers["x-extra"], "1");
    const posted = await bench.run([
      "-s",
      "box",
      "api",
      "/checkpoint",
      "--",
      "-d",
      '{"comment":"c"}',
    ]);
    assert.match(posted.stdout, /"complete"/);
    const missing = await bench.run(["api", "/v1/sprites/nope", "--", "-f"]);
    assert.equal(missing.exitCode, 22);
    const shown = await bench.run(["api", "/sprites", "--", "--next", "file:///proc/self/cmdline"]);
    assert.doesNotMatch(shown.stdout, /secret/);
  });

  test("usage errors", async () => {
    assert.equal((await bench.run(["frob"])).exitCode, 2);
    assert.equal((await bench.run(["checkpoint", "frob"])).exitCode, 2);
    assert.match((await bench.run(["lisst"])).stderr, /Did you mean list\?/);
    for (const args of [["exec"], ["list", "--frob"], ["checkpoint"], ["restore"], ["api"]]) {
      const result = await bench.run(args);
      assert.equal(result.exitCode, 1, args.join(" "));
      assert.equal(result.stdout, "");
    }
    const json = await bench.run(["list", "--json", "--frob"]);
    assert.partialDeepStrictEqual(JSON.parse(json.stderr), { error: "usage" });
    // An option behind the name would become the service's command.
    const late = await bench.run(["services", "create", "-s", "box", "web", "--http-port", "80"]);
    assert.equal(late.exitCode, 1);
    assert.match(late.stderr, /Options come before the name/);
  });

  test("help and version", async () => {
    assert.match((await bench.run(["--version"])).stdout, /^sprite \d+\.\d+\.\d+\n$/);
    for (const args of [[], ["--help"], ["help"]]) {
      const result = await bench.run(args);
      assert.equal(result.exitCode, 0);
      assert.match(result.stdout, /^Usage: sprite /);
    }
    assert.match((await bench.run(["help", "exec"])).stdout, /--http-post/);
    const listed = await bench.run(["org", "tokens", "--help"]);
    assert.match(listed.stdout, /revoke/);
    const upgrade = (await jsonOf("upgrade")) as object;
    assert.partialDeepStrictEqual(upgrade, { managed_by: "git" });
  });

  test("a full disk under stdout is told", async () => {
    const command = `${join(binPath, "sprite")} list > /dev/full`;
    const failed = promisify(execFile)("sh", ["-c", command], {
      env: {
        PATH: process.env["PATH"] ?? "",
        HOME: bench.home,
        SPRITES_API_URL: bench.server.url,
        SPRITE_TOKEN: fakeToken,
      },
    });
    await assert.rejects(failed, (error: Error & { code?: number; stderr?: string }) => {
      assert.equal(error.code, 1);
      assert.match(error.stderr ?? "", /write the output: .*ENOSPC/);
      return true;
    });
  });

  test("broken configuration files are named", async () => {
    writeFileSync(join(bench.directory, ".sprite"), "{");
    const result = await bench.run(["info"]);
    assert.equal(result.exitCode, 1);
    assert.match(result.stderr, /\.sprite is not a JSON object/);
    rmSync(join(bench.directory, ".sprite"));
    mkdirSync(join(bench.directory, ".sprite"));
    assert.match((await bench.run(["info"])).stderr, /no sprite chosen/);
  });

  test("bash completes commands, options and names from the server", async () => {
    const complete = async (...words: string[]): Promise<string[]> => {
      const script =
        'source <(sprite completion bash); COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); ' +
        "_sprite; printf '%s\\n' \"${COMPREPLY[@]}\"";
      const { stdout } = await promisify(execFile)("bash", ["-c", script, "bash", ...words], {
        cwd: bench.directory,
        env: {
          PATH: `${binPath}:${process.env["PATH"] ?? ""}`,
          HOME: bench.home,
          SPRITES_API_URL: bench.server.url,
          SPRITE_TOKEN: fakeToken,
        },
      });
      return stdout.split("\n").filter((line) => line !== "");
    };
    assert.deepEqual(await complete("sprite", "rest"), ["restart", "restore"]);
    assert.deepEqual(await complete("sprite", "destroy", "b"), ["box", "build"]);
    assert.deepEqual(await complete("sprite", "exec", "--ht"), ["--http-post"]);
    for (const shell of ["zsh", "fish"]) {
      const result = await bench.run(["completion", shell]);
      assert.match(result.stdout, /sprite __complete/);
    }
    assert.equal((await bench.run(["completion", "tcsh"])).exitCode, 1);
  });
});
