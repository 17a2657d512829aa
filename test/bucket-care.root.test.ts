/** What an operator does to a bucket while sprites run on it: `spritesd gc` and `spritesd scrub`. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { after, before, test } from "node:test";
import type { Sprite } from "@fly/sprites";
import { TestServer } from "./support/server.ts";

const program = resolve(import.meta.dirname, "../bin/spritesd");
const hourMs = 60 * 60_000;
const strayName = "data/ff/000000ff-0123456789ab";

let server: TestServer;
let bucket: string;
before(async () => {
  server = await TestServer.start();
  bucket = join(server.dataDirectory, "bucket");
});
after(() => server?.close());

interface Outcome {
  code: number;
  output: string;
}

function spritesd(...words: string[]): Promise<Outcome> {
  const command = [...words, "--bucket", bucket];
  return new Promise((done) => {
    execFile(program, command, { timeout: 60_000 }, (error, stdout, stderr) => {
      done({ code: error === null ? 0 : Number(error.code ?? -1), output: `${stdout}${stderr}` });
    });
  });
}

async function shell(sprite: Sprite, script: string): Promise<string> {
  return String((await sprite.execFile("sh", ["-c", script])).stdout).trim();
}

function putStray(prefix: string): string {
  const path = join(bucket, prefix, strayName);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, Buffer.alloc(4096));
  const seconds = (Date.now() - hourMs) / 1000;
  utimesSync(path, seconds, seconds);
  return path;
}

const writeFiles = `mkdir -p ~/d; for n in $(seq 12); do
  head -c 300000 /dev/urandom > ~/d/$((n % 8)); sync; sleep 0.1; done; cat ~/d/* | sha256sum`;
const readFiles = "cat ~/d/* | sha256sum";

test("collections beside a sprite that writes take what leaked and nothing else, also across a crash", async () => {
  const sprite = await server.client().createSprite("busy");
  const { id } = (await (await server.request("/v1/sprites/busy")).json()) as { id: string };
  const prefix = `sprites/${id}`;
  const stray = putStray(prefix);
  const writing = shell(sprite, writeFiles);
  let isWriting = true;
  const ended = writing.finally(() => (isWriting = false));
  let runs = 0;
  for (; isWriting || runs < 3; runs++) {
    const { code, output } = await spritesd("gc");
    assert.equal(code, 0, output);
    assert.match(output, /\nno problems\n$/);
  }
  const sum = await ended;
  process.stdout.write(`# ${runs} collections while 12 files were written\n`);
  assert.equal(existsSync(stray), false);
  await server.kill();
  await server.startProcess();
  const again = server.client().sprite("busy");
  assert.equal(await shell(again, readFiles), sum);
  const { code, output } = await spritesd("gc", "--volumes", "--all");
  assert.equal(code, 0, output);
  assert.match(output, new RegExp(`${prefix} {2}held by `));
  assert.doesNotMatch(output, /no registry names it/);
  await server.stop();
  rmSync(join(server.dataDirectory, "cache"), { recursive: true });
  assert.equal((await spritesd("gc")).code, 0);
  await server.startProcess();
  assert.equal(await shell(server.client().sprite("busy"), readFiles), sum);
});

test("a scrub beside a running sprite finds nothing, and then the segment that somebody damaged", async () => {
  const sound = await spritesd("scrub");
  assert.equal(sound.code, 0, sound.output);
  assert.match(sound.output, /^read \d+ bytes, found 0 damages\n$/);
  const [segment = ""] = segmentsOf("sprites");
  const bytes = readFileSync(segment);
  for (let at = 4096; at < bytes.length; at += 4096) bytes[at] = (bytes[at] ?? 0) ^ 1;
  rmSync(segment);
  writeFileSync(segment, bytes);
  const { code, output } = await spritesd("scrub");
  assert.equal(code, 1);
  const key = segment.slice(bucket.length + 1);
  assert.match(output, new RegExp(`DAMAGED {2}${key}: .*the checksum does not match`));
  assert.match(output, /\n {2}in live: live@\d+/);
  rmSync(segment);
  const missing = await spritesd("gc", "--dry-run");
  assert.equal(missing.code, 1);
  assert.match(missing.output, new RegExp(`PROBLEM {2}${key} is missing`));
});

/** Oldest first: such a segment holds what the first boot wrote. */
function segmentsOf(root: string): string[] {
  const names = readdirSync(join(bucket, root), { recursive: true }).map(String);
  return names
    .filter((name) => /\/data\/..\/[^/]+$/.test(name))
    .map((name) => join(bucket, root, name))
    .toSorted();
}
