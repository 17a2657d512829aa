/** Creates that find a sprite made already: what it becomes, what it never was, and what is left of those that nobody took. */
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { waitUntil } from "../src/base/wait.ts";
import { childrenOf, killAll } from "./support/processes.ts";
import { TestServer } from "./support/server.ts";

const withinMs = 120_000;
const poolSize = 2;

let server: TestServer;
before(async () => {
  server = await TestServer.start({ arguments: ["--pool", String(poolSize)] });
});
after(async () => await server?.close());

interface LogLine {
  msg?: string;
  spriteId?: string;
}

function logged(message: string): string[] {
  const lines = server.log.map((line): LogLine => {
    try {
      return JSON.parse(line) as LogLine;
    } catch {
      return {};
    }
  });
  return lines.filter(({ msg }) => msg === message).map(({ spriteId = "" }) => spriteId);
}

/** Those that stand by now: they are recorded, and have come to rest. */
async function spares(): Promise<string[]> {
  const recorded = await readdir(join(server.dataDirectory, "pool")).catch(() => []);
  const made = new Set(logged("a spare sprite stands by"));
  return recorded.filter((id) => made.has(id));
}

async function untilFull(): Promise<string[]> {
  const isFull = async (): Promise<boolean> => (await spares()).length === poolSize;
  assert.ok(await waitUntil(isFull, { timeoutMs: withinMs }), server.log.slice(-10).join("\n"));
  return await spares();
}

/** Their records have gone. */
async function untilForgotten(spriteIds: readonly string[]): Promise<void> {
  const isGone = async (): Promise<boolean> => {
    const recorded = await readdir(join(server.dataDirectory, "pool"));
    return !recorded.some((id) => spriteIds.includes(id));
  };
  assert.ok(await waitUntil(isGone, { timeoutMs: withinMs }), server.log.slice(-10).join("\n"));
}

async function run(name: string, script: string): Promise<string> {
  const { stdout } = await server.client().sprite(name).execFile("sh", ["-c", script]);
  return String(stdout).trim();
}

async function objectOf(
  name: string,
): Promise<Record<"id" | "created_at" | "status" | "durability", string>> {
  const response = await server.request(`/v1/sprites/${name}`);
  return (await response.json()) as Awaited<ReturnType<typeof objectOf>>;
}

async function create(body: object): Promise<{ id: string }> {
  const response = await server.request("/v1/sprites", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  assert.equal(response.status, 201, await response.clone().text());
  return (await response.json()) as { id: string };
}

/** What is left of a sprite's disk in the bucket. */
async function inBucket(spriteId: string): Promise<string[]> {
  const directory = join(server.dataDirectory, "bucket/sprites", spriteId);
  const names = await readdir(directory, { recursive: true }).catch(() => []);
  return names.filter((name) => name.endsWith(".json") || name.endsWith(".ltx"));
}

describe("a create from the warm pool", () => {
  test("nobody sees those that stand by", async () => {
    await untilFull();
    const list = (await (await server.request("/v1/sprites")).json()) as Record<string, unknown>;
    assert.deepEqual(list["sprites"], []);
    assert.partialDeepStrictEqual(list, { running: 0, warm: 0, cold: 0 });
  });

  test("is what was asked for: name, environment, labels, durability, time of its creation", async () => {
    const before = await untilFull();
    const askedAtMs = Date.now();
    const { id } = await create({
      ...{ name: "claimed", environment: { GREETING: "hello there" }, labels: ["a"] },
      ...{ durability: "durable" },
    });
    assert.ok(before.includes(id), "it was made already");
    const seen = await run(
      "claimed",
      'uname -n; cat /etc/hostname; getent hosts claimed | cut -d" " -f1; echo "$GREETING"; hostname',
    );
    assert.equal(seen, "claimed\nclaimed\n127.0.1.1\nhello there\nclaimed");
    const { created_at: createdAt, status, durability } = await objectOf("claimed");
    assert.equal(status, "running");
    assert.ok(Date.parse(createdAt) >= askedAtMs);
    assert.equal(durability, "durable");
    const activity = await server.request("/v1/sprites/claimed/activity");
    // As of one that was started for it.
    const itsLife = { slept_at: null, slept_because: null, woke_because: "it was created" };
    assert.partialDeepStrictEqual(await activity.json(), itsLife);
    const titles = await Promise.all(
      (await childrenOf(server.places, "sprite")).map(({ pid }) =>
        readFile(`/proc/${pid}/cmdline`, "utf8"),
      ),
    );
    assert.ok(titles.some((title) => title.startsWith("sprite claimed")));
  });

  test("and the official SDK has what one that was made for it has, also past an empty pool", async () => {
    // More than the pool has.
    const names = ["one", "two", "three"];
    const client = server.client();
    const sprites = await Promise.all(names.map((name) => client.createSprite(name)));
    assert.equal(new Set(sprites.map(({ id }) => id)).size, names.length);
    const facts = await Promise.all(
      names.map((name) => run(name, "uname -n; cat /etc/machine-id; ls -A /home/sprite /tmp")),
    );
    assert.deepEqual(
      facts.map((fact) => fact.split("\n")[0]),
      names,
    );
    assert.equal(new Set(facts.map((fact) => fact.split("\n")[1])).size, names.length);
    const rest = facts.map((fact) => fact.split("\n").slice(2).join("\n"));
    assert.equal(new Set(rest).size, 1, rest.join("\n---\n"));
    const session = await server.request("/v1/sprites/one/exec");
    assert.partialDeepStrictEqual(await session.json(), { sessions: [] });
    await Promise.all(sprites.map((sprite) => sprite.delete()));
    // A spare serves once.
    const { id } = await create({ name: "later" });
    assert.ok(sprites.every((sprite) => sprite.id !== id));
  });

  test("is itself after its agent was killed, and after a restart", async () => {
    await run("claimed", "echo mine > ~/note");
    const agents = await childrenOf(server.places, "sprite");
    const titles = await Promise.all(
      agents.map(async (agent) => ({
        agent,
        title: await readFile(`/proc/${agent.pid}/cmdline`, "utf8"),
      })),
    );
    await killAll(
      titles.filter(({ title }) => title.startsWith("sprite claimed")).map((each) => each.agent),
    );
    const look = 'uname -n; echo "$GREETING"; cat ~/note; grep -c claimed /etc/hosts';
    const expected = "claimed\nhello there\nmine\n1";
    assert.equal(await run("claimed", look), expected);
    await server.request("/v1/sprites/claimed/restart", { method: "POST" });
    assert.equal(await run("claimed", look), expected);
  });

  test("works when the spare's agent dies at that moment; what is lost is replaced and leaves nothing", async () => {
    const full = await untilFull();
    const agents = await childrenOf(server.places, "sprite");
    const titles = await Promise.all(
      agents.map(({ pid }) => readFile(`/proc/${pid}/cmdline`, "utf8")),
    );
    const nobodys = agents.filter((_, index) => /^sprite sprite\0*$/.test(titles[index] ?? ""));
    assert.equal(nobodys.length, poolSize);
    const [created] = await Promise.all([create({ name: "unlucky" }), killAll(nobodys)]);
    assert.equal(await run("unlucky", "uname -n; cat /etc/hostname"), "unlucky\nunlucky");
    const lost = full.filter((id) => id !== created.id);
    // What is left of a spare goes while others are made already, its record last.
    await untilForgotten(full);
    for (const id of lost) assert.deepEqual(await inBucket(id), []);
    const now = await untilFull();
    assert.ok(now.every((id) => !full.includes(id)));
  });

  test("after kill -9 of the server what nobody took is gone, and what somebody has is there", async () => {
    const full = await untilFull();
    for (const id of full) assert.notDeepEqual(await inBucket(id), []);
    await server.kill();
    await server.startProcess();
    await untilForgotten(full);
    for (const id of full) assert.deepEqual(await inBucket(id), []);
    assert.equal(await run("claimed", "uname -n; cat ~/note"), "claimed\nmine");
    const again = async (): Promise<boolean> => (await spares()).length > 0;
    assert.ok(await waitUntil(again, { timeoutMs: withinMs }));
    assert.ok((await spares()).every((id) => !full.includes(id)));
  });

  test("a server that stops in order leaves no spare behind", async () => {
    const full = await spares();
    assert.notDeepEqual(full, []);
    await server.stop();
    // It waits for only so long (`clearMsMax`): what a busy machine has not done by then, the next start does.
    const left = await readdir(join(server.dataDirectory, "pool"));
    const gone = full.filter((id) => !left.includes(id));
    for (const id of gone) assert.deepEqual(await inBucket(id), []);
    if (left.length === 0) return;
    await server.startProcess();
    await untilForgotten(left);
    for (const id of full) assert.deepEqual(await inBucket(id), []);
  });
});
