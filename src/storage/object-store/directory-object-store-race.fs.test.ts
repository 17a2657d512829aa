import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, it, type TestContext } from "node:test";
import { DirectoryObjectStore } from "./directory-object-store.ts";

interface Racer {
  process: ChildProcess;
  /** What it has said so far. */
  lines: number[];
  ended: Promise<void>;
  firstLine: Promise<unknown>;
}

function startRacer(test: TestContext, mode: string, directory: string, count: number): Racer {
  const script = new URL("testing/race-worker.ts", import.meta.url).pathname;
  const child = spawn(process.execPath, [script, mode, directory, String(count)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  test.after(() => child.kill("SIGKILL"));
  const lines: number[] = [];
  const reader = createInterface({ input: child.stdout });
  reader.on("line", (line) => lines.push(Number(line)));
  const ended = Promise.all([once(child, "exit"), once(reader, "close")]).then(() => {});
  return { process: child, lines, ended, firstLine: once(reader, "line") };
}

async function makeDirectory(test: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "object-race-"));
  test.after(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

async function counterIn(directory: string): Promise<number> {
  const store = await DirectoryObjectStore.open(directory);
  const bytes = await store.get("race/counter");
  return (JSON.parse(Buffer.from(bytes ?? []).toString()) as { value: number }).value;
}

describe("directory object store, raced by processes", { timeout: 60_000 }, () => {
  it("loses no swap", async (test) => {
    const directory = await makeDirectory(test);
    const racers = [1, 2, 3, 4].map(() => startRacer(test, "increment", directory, 50));
    await Promise.all(racers.map(({ ended }) => ended));
    const stored = racers.flatMap(({ lines }) => lines).toSorted((a, b) => a - b);
    assert.deepEqual(
      stored,
      Array.from({ length: 200 }, (_, index) => index + 1),
    );
    assert.equal(await counterIn(directory), 200);
  });

  it("gives each name to one creator", async (test) => {
    const directory = await makeDirectory(test);
    const racers = [1, 2, 3, 4].map(() => startRacer(test, "create", directory, 100));
    await Promise.all(racers.map(({ ended }) => ended));
    const won = racers.flatMap(({ lines }) => lines).toSorted((a, b) => a - b);
    assert.deepEqual(
      won,
      Array.from({ length: 100 }, (_, index) => index),
    );
  });

  it("goes on at once when the lock's holder is killed", async (test) => {
    const directory = await makeDirectory(test);
    const holder = startRacer(test, "hold", directory, 0);
    await holder.firstLine;
    const store = await DirectoryObjectStore.open(directory);
    let isDone = false;
    const put = store.put("race/held", Buffer.from("y")).then(() => (isDone = true));
    await store.get("race/held");
    await store.putIfAbsent("other/place", Buffer.from("z"));
    assert.equal(isDone, false, "the lock keeps the writer out");
    holder.process.kill("SIGKILL");
    const startMs = performance.now();
    await put;
    assert.ok(performance.now() - startMs < 5_000);
    assert.equal(Buffer.from((await store.get("race/held")) ?? []).toString(), "y");
  });

  it("survives writers killed at any moment", async (test) => {
    const directory = await makeDirectory(test);
    const racers: Racer[] = [];
    const killCount = 6;
    for (let round = 0; round < killCount; round++) {
      const pair = [1, 2].map(() => startRacer(test, "increment", directory, 1_000_000));
      racers.push(...pair);
      await Promise.all(pair.map(({ firstLine }) => firstLine));
      // Each round kills at another distance from the last thing that was said.
      const killAtMs = performance.now() + round * 1.7;
      while (performance.now() < killAtMs);
      for (const { process: racer } of pair) racer.kill("SIGKILL");
      await Promise.all(pair.map(({ ended }) => ended));
    }
    const told = racers.flatMap(({ lines }) => lines);
    assert.equal(new Set(told).size, told.length, "no value was stored twice");
    // A killed writer may have stored one value that it could not tell any more.
    const value = await counterIn(directory);
    assert.ok(value >= Math.max(...told) && value <= told.length + racers.length);
    const store = await DirectoryObjectStore.open(directory);
    const seen = await store.getWithEtag("race/counter");
    assert.ok(await store.swap("race/counter", Buffer.from("{}"), { etag: seen?.etag ?? null }));
    assert.deepEqual(await readdir(join(directory, "race")), ["counter"]);
  });
});
