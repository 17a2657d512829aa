/**
 * `make sdks`: official SDKs of other languages, unmodified, against a server of this repository. Not a part of `make
 * test`: it installs them from their registries, into a directory that is removed again.
 *
 *   bin/node24 tools/sdks/run.ts [--python VERSION,...] [--groups GROUP,...]
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { TestServer } from "../../test/support/server.ts";

/** Newest first, back to the oldest that has all that the exercise uses. */
const pythonVersionsDefault = "0.7.2,0.7.0,0.6.0,0.5.1";

const { values } = parseArgs({
  options: {
    python: { type: "string", default: pythonVersionsDefault },
    groups: { type: "string", default: "" },
  },
});

const exercise = join(import.meta.dirname, "python/exercise.py");
const groups = values.groups.split(",").filter((group) => group !== "");
const directory = await mkdtemp(join(tmpdir(), "opensprites-sdks-"));
const failed: string[] = [];
const stopped = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stopped.abort());
try {
  const server = await TestServer.start();
  try {
    for (const version of values.python.split(",")) {
      stopped.signal.throwIfAborted();
      process.stdout.write(`=== sprites-py ${version}\n`);
      const python = await installPython(join(directory, version), version);
      const env = { SPRITES_API_URL: server.url, SPRITE_TOKEN: server.token };
      if ((await run(python, [exercise, ...groups], env)) !== 0) failed.push(version);
    }
  } finally {
    await server.close();
  }
} finally {
  await rm(directory, { recursive: true, force: true });
}
if (failed.length > 0) {
  process.stderr.write(`failed with sprites-py ${failed.join(", ")}\n`);
  process.exit(1);
}

/** A virtual environment with that version in it; gives its interpreter. */
async function installPython(path: string, version: string): Promise<string> {
  await mustRun("python3", ["-m", "venv", path]);
  const python = join(path, "bin/python");
  const quiet = ["--quiet", "--disable-pip-version-check"];
  await mustRun(python, ["-m", "pip", "install", ...quiet, `sprites-py==${version}`]);
  return python;
}

async function mustRun(program: string, words: string[]): Promise<void> {
  const code = await run(program, words);
  if (code !== 0) throw new Error(`${program} ${words.join(" ")} ended with ${code}`);
}

async function run(
  program: string,
  words: string[],
  env: Record<string, string> = {},
): Promise<number | null> {
  const child = spawn(program, words, {
    stdio: "inherit",
    env: { ...process.env, ...env },
    signal: stopped.signal,
    killSignal: "SIGTERM",
  });
  const [code] = (await once(child, "exit")) as [number | null];
  return code;
}
