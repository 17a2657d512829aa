/** Rows about files through the API: one large file each way, and small ones, beside a plain HTTP file server. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { runCommand } from "../src/host/command.ts";
import { backgroundPids, createSprite, type Bench } from "./context.ts";
import { guarded } from "./life.ts";
import { settle } from "./machine.ts";
import { rowOf } from "./report.ts";
import type { Unit } from "./statistics.ts";

const megabytes = 256;
const smallRounds = 40;
const peerName = "plain HTTP server";

interface Case {
  name: string;
  unit: Unit;
  note: string;
  measure: (place: HttpPlace) => Promise<number>;
}

/** Where files are read and written by HTTP, and how a request is made. */
interface HttpPlace {
  urlOf: (verb: "read" | "write", name: string) => string;
  headers: string[];
}

const cases: readonly Case[] = [
  {
    ...{ name: "file_read", unit: "MB/s" as const },
    note: `curl of ${megabytes} MB from the page cache`,
    measure: async (place) => await megabytesPerSecond(place, "read", []),
  },
  {
    ...{ name: "file_write", unit: "MB/s" as const },
    note: `curl of ${megabytes} MB into a new file that is synced and takes the old one's place`,
    measure: async (place) => await megabytesPerSecond(place, "write", ["--upload-file", "large"]),
  },
  {
    ...{ name: "file_read_4k", unit: "ms" as const },
    note: "one connection after another",
    measure: async (place) => await smallMs(place, "read", {}),
  },
  {
    ...{ name: "file_write_4k", unit: "ms" as const },
    note: "synced",
    measure: async (place) =>
      await smallMs(place, "write", { method: "PUT", body: Buffer.alloc(4096) }),
  },
];

export async function runFiles(bench: Bench): Promise<void> {
  const wanted = cases.filter(({ name }) => bench.wants(name));
  if (wanted.length === 0) return;
  const names = wanted.map(({ name }) => name);
  await guarded(bench, names, "MB/s", async () => {
    const directory = join(bench.directory, "files");
    await mkdir(directory);
    process.chdir(directory);
    await writeFile("large", Buffer.alloc(megabytes * 1_000_000, "sprite"));
    const sprite = await createSprite(bench);
    const own: HttpPlace = {
      urlOf: (verb, name) =>
        `${bench.server.url}/v1/sprites/${sprite.name}/fs/${verb}?path=/home/sprite/${name}`,
      headers: ["authorization", `Bearer ${bench.server.token}`],
    };
    const peer = await startPeer(bench, join(directory, "served"));
    for (const place of [own, peer]) await fill(place);
    for (const { name, unit, note, measure } of wanted) {
      const samples: number[][] = [[], []];
      for (let round = 0; round < bench.plan.diskRounds * 2; round++) {
        for (const [index, place] of [own, peer].entries()) {
          await settle(await backgroundPids(bench), bench.directory);
          samples[index]?.push(await measure(place));
        }
      }
      const [ours = [], others = []] = samples;
      bench.emit(
        rowOf({ name, unit, samples: ours, peer: { name: peerName, samples: others }, note }),
      );
    }
    await sprite.delete();
  });
}

async function startPeer(bench: Bench, directory: string): Promise<HttpPlace> {
  await mkdir(directory);
  const program = join(import.meta.dirname, "plain-file-server.ts");
  const child = spawn(process.execPath, [program, directory], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  bench.cleanup.add("end the plain file server", async () => {
    child.stdin.end();
    await once(child, "exit");
  });
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  return { urlOf: (_, name) => `http://127.0.0.1:${Number(line)}/${name}`, headers: [] };
}

async function fill(place: HttpPlace): Promise<void> {
  await curl(place, "write", ["--upload-file", "large"]);
  await smallMs(place, "write", { method: "PUT", body: Buffer.alloc(4096) });
}

async function megabytesPerSecond(
  place: HttpPlace,
  verb: "read" | "write",
  more: readonly string[],
): Promise<number> {
  return megabytes / (await curl(place, verb, more));
}

/** Seconds, as curl measures them. */
async function curl(
  place: HttpPlace,
  verb: "read" | "write",
  more: readonly string[],
): Promise<number> {
  const [name, value] = place.headers;
  const headers = name === undefined ? [] : ["--header", `${name}: ${value}`];
  const { stdout } = await runCommand(
    "curl",
    [
      ...["--silent", "--show-error", "--fail", "--output", "/dev/null", ...headers, ...more],
      ...["--write-out", "%{time_total}", place.urlOf(verb, "large")],
    ],
    { deadlineMs: 120_000, directory: process.cwd() },
  );
  return Number(stdout);
}

async function smallMs(
  place: HttpPlace,
  verb: "read" | "write",
  init: RequestInit,
): Promise<number> {
  const start = performance.now();
  for (let round = 0; round < smallRounds; round++) {
    const [name, value = ""] = place.headers;
    const headers = name === undefined ? {} : { [name]: value };
    const response = await fetch(place.urlOf(verb, "small"), { ...init, headers });
    await response.arrayBuffer();
    if (!response.ok) throw new Error(`${verb} answered ${response.status}`);
  }
  return (performance.now() - start) / smallRounds;
}
