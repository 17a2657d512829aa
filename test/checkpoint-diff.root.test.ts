/** What changed between two checkpoints, told without restoring anything. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Sprite } from "@fly/sprites";
import { TestServer } from "./support/server.ts";

let server: TestServer;
let sprite: Sprite;
let ids: string[];
let hadCertificates: boolean;

before(async () => {
  server = await TestServer.start();
  sprite = await server.client().createSprite("diff");
  await shell(
    "mkdir -p ~/kept ~/gone/deep ~/moves && cd ~ && echo 1 > kept/same && echo 1 > kept/grows",
  );
  await shell("cd ~ && echo 1 > gone/deep/f && echo 1 > moves/in && ln -s a link && echo 1 > kind");
  hadCertificates = (await shell("test -e /etc/ssl/certs && echo yes || true")) !== "";
  const first = await checkpoint();
  await shell("cd ~ && echo 22 >> kept/grows && rm -r gone && mv moves moved && chmod 600 kind");
  await shell("cd ~ && ln -sf b link && mkfifo pipe && mkdir -p new/dir && echo 333 > new/dir/f");
  await shell(
    'sudo sh -c "mv /usr/share /usr/shared; rm -r /etc/network /etc/ssl; mkdir /etc/ssl"',
  );
  ids = [first, await checkpoint()];
  await shell("echo later > ~/later");
});
after(async () => await server?.close());

async function shell(script: string): Promise<string> {
  return String((await sprite.execFile("sh", ["-c", script])).stdout);
}

async function checkpoint(): Promise<string> {
  const response = await server.request("/v1/sprites/diff/checkpoint", { method: "POST" });
  return /Checkpoint (v\d+) created/.exec(await response.text())?.[1] ?? "";
}

type Line = Record<string, unknown>;

async function diff(from: string, to?: string): Promise<Line[]> {
  const query = to === undefined ? "" : `?to=${to}`;
  const response = await server.request(`/v1/sprites/diff/checkpoints/${from}/diff${query}`);
  const text = await response.text();
  assert.equal(response.status, 200, text);
  return text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Line);
}

const brief = (lines: readonly Line[]): string[] =>
  lines.map(({ type, path, kind, size, old_size }) =>
    [type, path, kind, size, ...(old_size === undefined ? [] : [old_size])].join(" "),
  );

test("between two checkpoints: what was added, changed and removed below the home directory", async () => {
  const lines = await diff(ids[0] ?? "", ids[1]);
  const home = lines.filter(({ path }) => String(path).startsWith("/home/sprite/"));
  assert.deepEqual(brief(home), [
    "removed /home/sprite/gone directory 0",
    "removed /home/sprite/gone/deep directory 0",
    "removed /home/sprite/gone/deep/f file 2",
    "changed /home/sprite/kept/grows file 5 2",
    "changed /home/sprite/kind file 2 2",
    "changed /home/sprite/link symlink 1 1",
    "added /home/sprite/moved directory 0",
    "added /home/sprite/moved/in file 2",
    "removed /home/sprite/moves directory 0",
    "removed /home/sprite/moves/in file 2",
    "added /home/sprite/new directory 0",
    "added /home/sprite/new/dir directory 0",
    "added /home/sprite/new/dir/f file 4",
    "added /home/sprite/pipe other 0",
  ]);
  const summary = lines.at(-1) ?? {};
  for (const type of ["added", "changed", "removed"] as const) {
    assert.equal(summary[type], lines.filter((line) => line["type"] === type).length);
  }
});

test("directories of the image that were removed, replaced or renamed count with all that was in them", async () => {
  const lines = await diff(ids[0] ?? "", ids[1]);
  assert.equal(lines.at(-1)?.["type"], "complete", JSON.stringify(lines.at(-1)));
  const image = await shell(
    "sudo find /usr/shared | wc -l; sudo find / -xdev -name 'openssl.cnf' | wc -l",
  );
  const [files = 0] = image.split("\n").map(Number);
  const count = (type: string, below: string): number =>
    lines.filter(
      (line) =>
        line["type"] === type &&
        (line["path"] === below || String(line["path"]).startsWith(`${below}/`)),
    ).length;
  assert.equal(count("added", "/usr/shared"), files);
  assert.equal(count("removed", "/usr/share"), files);
  assert.equal(count("removed", "/etc/ssl/certs") > 0, hadCertificates);
});

test("a checkpoint and the live state, either way round, and a checkpoint with itself", async () => {
  const [first = "", second = ""] = ids;
  const later = "/home/sprite/later";
  assert.deepEqual(brief((await diff(second)).slice(0, -1)), [`added ${later} file 6`]);
  assert.deepEqual(brief((await diff("Current", second)).slice(0, -1)), [
    `removed ${later} file 6`,
  ]);
  assert.deepEqual(await diff(first, first), [
    { type: "complete", added: 0, changed: 0, removed: 0 },
  ]);
});

test("the sprite command tells it line by line, and as JSON", async () => {
  const [from = "", to = ""] = ids;
  const text = await server.cli(["checkpoint", "diff", from, to, "-s", "diff"]);
  assert.equal(text.code, 0, text.stderr);
  assert.match(text.stdout, /^~ \/home\/sprite\/kept\/grows {2}2 bytes -> 5 bytes$/m);
  assert.match(text.stdout, /^- \/home\/sprite\/gone\/$/m);
  assert.match(text.stderr, /^\d+ added, \d+ changed, \d+ removed\.$/m);
  const live = await server.cli(["checkpoint", "diff", to, "-s", "diff", "--json"]);
  const lines = live.stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Line);
  assert.ok(lines.some(({ type, path }) => type === "added" && path === "/home/sprite/later"));
  assert.equal(lines.at(-1)?.["type"], "complete");
  const wrong = await server.cli(["checkpoint", "diff", "v99", "-s", "diff", "--json"]);
  assert.equal(wrong.code, 1);
  assert.partialDeepStrictEqual(JSON.parse(wrong.stderr), { error: "not_found", status: 404 });
});

test("what is no checkpoint is not found, and restoring or deleting goes on as ever", async () => {
  for (const target of ["v99/diff", `${ids[0]}/diff?to=v99`]) {
    const response = await server.request(`/v1/sprites/diff/checkpoints/${target}`);
    assert.equal(response.status, 404);
  }
  const all = await Promise.all([
    diff(ids[0] ?? ""),
    diff(ids[0] ?? "", ids[1]),
    diff(ids[1] ?? ""),
  ]);
  for (const lines of all) assert.equal(lines.at(-1)?.["type"], "complete");
  const restored = await server.request(`/v1/sprites/diff/checkpoints/${ids[0]}/restore`, {
    method: "POST",
  });
  assert.match(await restored.text(), /"complete"/);
  assert.deepEqual(await diff(ids[0] ?? ""), [
    { type: "complete", added: 0, changed: 0, removed: 0 },
  ]);
  const deleted = await server.request(`/v1/sprites/diff/checkpoints/${ids[1]}`, {
    method: "DELETE",
  });
  assert.equal(deleted.status, 204);
});

test("a restore breaks comparisons off with an error, and is not held up by them", async () => {
  const running = [ids[0] ?? "", "Current"].map(async (from) => {
    const path = `/v1/sprites/diff/checkpoints/${from}/diff?to=${ids[0]}`;
    return await (await server.request(path)).text();
  });
  const restored = await server.request(`/v1/sprites/diff/checkpoints/${ids[0]}/restore`, {
    method: "POST",
  });
  assert.match(await restored.text(), /"type":"complete"/);
  for (const text of await Promise.all(running)) assert.match(text, /"type":"(complete|error)"/);
  assert.deepEqual(await diff(ids[0] ?? "", ids[0]), [
    { type: "complete", added: 0, changed: 0, removed: 0 },
  ]);
});

test("directories that are nested too deeply are told, behind what was found before", async () => {
  await shell("cd ~; echo 1 > above; d=nested; for n in $(seq 140); do d=$d/n; done; mkdir -p $d");
  const lines = await diff(ids[0] ?? "");
  assert.ok(lines.some(({ path }) => path === "/home/sprite/above"));
  assert.match(
    String(lines.at(-1)?.["error"]),
    /^more than 128 directories within each other: \/home/,
  );
  await shell("rm -r ~/above ~/nested");
});
