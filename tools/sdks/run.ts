/**
 * `make sdks`: official SDKs of other languages, unmodified, against a server of this repository. Not a part of `make
 * test`: it installs them from their registries, into a directory that is removed again.
 *
 *   bin/node24 tools/sdks/run.ts [--python VERSION,...] [--javascript VERSION,...] [--groups GROUP,...]
 *
 * GROUP is one of the Python exercise.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { TestServer } from "../../test/support/server.ts";

/** Newest first, back to the oldest that has all that the exercise uses; of JavaScript `make test` uses the newest. */
const javascriptVersionsDefault = "0.0.1";
const pythonVersionsDefault = "0.7.2,0.7.0,0.6.0,0.5.1";

const { values } = parseArgs({
  options: {
    python: { type: "string", default: pythonVersionsDefault },
    javascript: { type: "string", default: javascriptVersionsDefault },
    groups: { type: "string", default: "" },
  },
});

const list = (text: string): string[] => text.split(",").filter((word) => word !== "");
const directory = await mkdtemp(join(tmpdir(), "opensprites-sdks-"));
const failed: string[] = [];
const stopped = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stopped.abort());
try {
  const server = await TestServer.start();
  try {
    const env = { SPRITES_API_URL: server.url, SPRITE_TOKEN: server.token };
    for (const version of list(values.python)) {
      await exercise(`sprites-py ${version}`, async () => {
        const python = await installPython(join(directory, `python-${version}`), version);
        const script = join(import.meta.dirname, "python/exercise.py");
        return await run(python, [script, ...list(values.groups)], { env });
      });
    }
    for (const version of list(values.javascript)) {
      await exercise(`@fly/sprites ${version}`, async () => {
        const cwd = await installJavaScript(join(directory, `javascript-${version}`), version);
        return await run(process.execPath, ["exercise.mjs"], { env, cwd });
      });
    }
  } finally {
    await server.close();
  }
} finally {
  await rm(directory, { recursive: true, force: true });
}
if (failed.length > 0) {
  process.stderr.write(`failed with ${failed.join(", ")}\n`);
  process.exit(1);
}

async function exercise(title: string, work: () => Promise<number | null>): Promise<void> {
  stopped.signal.throwIfAborted();
  process.stdout.write(`=== ${title}\n`);
  if ((await work()) !== 0) failed.push(title);
}

/** A virtual environment with that version in it; gives its interpreter. */
async function installPython(path: string, version: string): Promise<string> {
  await mustRun("python3", ["-m", "venv", path]);
  const python = join(path, "bin/python");
  const quiet = ["--quiet", "--disable-pip-version-check"];
  await mustRun(python, ["-m", "pip", "install", ...quiet, `sprites-py==${version}`]);
  return python;
}

/** A directory with that version and the exercise in it. */
async function installJavaScript(path: string, version: string): Promise<string> {
  await mkdir(path, { recursive: true });
  await writeFile(join(path, "package.json"), '{"private":true,"type":"module"}');
  const quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--silent"];
  await mustRun("npm", ["install", ...quiet, `@fly/sprites@${version}`], { cwd: path });
  const script = join(import.meta.dirname, "javascript/exercise.mjs");
  await copyFile(script, join(path, "exercise.mjs"));
  return path;
}

async function mustRun(
  program: string,
  words: string[],
  options: { cwd?: string } = {},
): Promise<void> {
  const code = await run(program, words, options);
  if (code !== 0) throw new Error(`${program} ${words.join(" ")} ended with ${code}`);
}

async function run(
  program: string,
  words: string[],
  options: { env?: Record<string, string>; cwd?: string } = {},
): Promise<number | null> {
  const { env, ...more } = options;
  const child = spawn(program, words, {
    ...more,
    stdio: "inherit",
    env: { ...process.env, ...env },
    signal: stopped.signal,
    killSignal: "SIGTERM",
  });
  const [code] = (await once(child, "exit")) as [number | null];
  return code;
}
