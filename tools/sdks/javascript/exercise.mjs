/**
 * Uses an older official JavaScript SDK, unmodified, against a server. The newest one is what `make test` uses everywhere.
 * Runs where that version is installed; SPRITES_API_URL and SPRITE_TOKEN say which server. One line a check.
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { SpritesClient } from "@fly/sprites";

const client = new SpritesClient(process.env.SPRITE_TOKEN, {
  baseURL: process.env.SPRITES_API_URL,
});
const name = `js-${randomBytes(4).toString("hex")}`;
const checkMsMax = 120_000;

/** A spawned command's output and exit code. */
async function collect(command, input) {
  const parts = { stdout: [], stderr: [] };
  for (const stream of ["stdout", "stderr"])
    command[stream].on("data", (part) => parts[stream].push(part));
  // This version takes nothing before its socket is open.
  if (input !== undefined) command.once("spawn", () => command.stdin.end(input));
  const code = await command.wait();
  return { code, stdout: Buffer.concat(parts.stdout), stderr: Buffer.concat(parts.stderr) };
}

const checks = {
  async "sprites are made with camel-case settings, found, listed"() {
    const made = await client.createSprite(`${name}-made`, { ramMB: 512, cpus: 1, storageGB: 10 });
    try {
      assert.equal(made.name, `${name}-made`);
      assert.equal((await client.getSprite(made.name)).name, made.name);
      const names = (await client.listAllSprites(name)).map((sprite) => sprite.name);
      assert.deepEqual(names.toSorted(), [name, made.name].toSorted());
    } finally {
      await made.delete();
    }
    await assert.rejects(client.getSprite(made.name));
  },
  async "output and exit codes"(sprite) {
    const done = await sprite.execFile("sh", ["-c", "echo out; echo err >&2"]);
    assert.deepEqual([done.stdout, done.stderr, done.exitCode], ["out\n", "err\n", 0]);
    const error = await sprite.execFile("sh", ["-c", "echo x; exit 7"]).catch((caught) => caught);
    assert.equal(error.result?.exitCode ?? error.exitCode, 7);
    assert.equal((await sprite.exec("pwd", { cwd: "/tmp" })).stdout, "/tmp\n");
  },
  async "a spawned command gets stdin and its end"(sprite) {
    const input = randomBytes(1_000_000);
    const { code, stdout } = await collect(sprite.spawn("cat"), input);
    assert.equal(code, 0);
    assert.ok(stdout.equals(input));
  },
  async "a terminal's exit code is told by the close"(sprite) {
    const good = await collect(sprite.spawn("stty", ["size"], { tty: true, rows: 30, cols: 100 }));
    assert.deepEqual([good.code, String(good.stdout)], [0, "30 100\r\n"]);
    const bad = await collect(sprite.spawn("sh", ["-c", "exit 9"], { tty: true }));
    assert.notEqual(bad.code, 0, "this version knows only that it was not 0");
  },
  async "short commands lose nothing"(sprite) {
    for (let index = 0; index < 40; index++) {
      const { code, stdout } = await collect(
        sprite.spawn("sh", ["-c", `echo ${index}; exit ${index}`]),
      );
      assert.deepEqual([code, String(stdout)], [index, `${index}\n`]);
    }
  },
  async "a session is listed and joined"(sprite) {
    const first = sprite.createSession("sh", ["-c", "echo marker; read line; echo got $line"]);
    first.on("error", () => undefined);
    let session;
    for (let tries = 0; session === undefined; tries++) {
      assert.ok(tries < 200, "the session is not listed");
      session = (await sprite.listSessions()).find(({ command }) => command.includes("marker"));
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const second = sprite.attachSession(session.id);
    let seen = "";
    second.stdout.on("data", (part) => (seen += part));
    while (!seen.includes("marker")) await new Promise((resolve) => setTimeout(resolve, 20));
    second.stdin.write("words\r");
    assert.equal(await second.wait(), 0);
    assert.match(seen, /got words/);
  },
  async "a checkpoint brings a file back"(sprite) {
    await sprite.execFile("sh", ["-c", "echo first > kept"]);
    const lines = (await (await sprite.createCheckpoint("old")).text()).trim().split("\n");
    assert.equal(JSON.parse(lines.at(-1)).type, "complete");
    const [checkpoint] = await sprite.listCheckpoints();
    assert.equal(checkpoint.comment, "old");
    await sprite.execFile("sh", ["-c", "echo second > kept"]);
    await (await sprite.restoreCheckpoint(checkpoint.id)).text();
    assert.equal((await sprite.execFile("cat", ["kept"])).stdout, "first\n");
  },
};

let failed = 0;
const sprite = await client.createSprite(name);
try {
  for (const [title, check] of Object.entries(checks)) {
    const start = performance.now();
    console.log(`begun  javascript: ${title}`);
    const late = new Promise((_, reject) => {
      setTimeout(() => reject(new Error("it hangs")), checkMsMax).unref();
    });
    try {
      await Promise.race([check(sprite), late]);
      console.log(`ok     javascript: ${title} (${Math.round(performance.now() - start)} ms)`);
    } catch (error) {
      failed++;
      console.log(`FAILED javascript: ${title}\n${error?.stack ?? error}`);
    }
  }
} finally {
  await sprite.delete();
}
console.log(failed === 0 ? "all passed" : `${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
