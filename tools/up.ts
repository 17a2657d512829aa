/**
 * The last step of `make up`: runs the server in the foreground and, once it is ready, says how to
 * use it.
 */
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdir, open, readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

import { placesOf } from "../src/worker/places.ts";
import { serverOf } from "../src/worker/server-lock.ts";
import { repositoryDirectory } from "./source-files.ts";

const run = promisify(execFile);
const binDirectory = join(repositoryDirectory, "bin");
const dataDirectory = process.env["SPRITES_DATA"] ?? "/var/lib/opensprites";

/** Organization of the token that `make up` makes. */
const orgSlug = "local";
const tokenPath = join(dataDirectory, "token-local");

async function main(): Promise<number> {
  await replaceRunningServer();
  // A terminal's Ctrl+C goes to its whole foreground group; in a session of its own the server
  // hears it once, from us.
  const server = spawn(
    "setpriv",
    ["--pdeathsig", "TERM", join(binDirectory, "spritesd"), "serve"],
    {
      stdio: ["ignore", "pipe", "inherit"],
      detached: true,
    },
  );
  const ended = once(server, "close") as Promise<[number | null, NodeJS.Signals | null]>;
  forwardSignals(server);
  const lines = createInterface({ input: server.stdout });
  lines.on("line", (line) => {
    process.stdout.write(`${line}\n`);
    const url = /^ready (\S+)$/.exec(line)?.[1];
    if (url !== undefined) void introduce(url);
  });
  const [code, signal] = await ended;
  if (signal !== null) process.stdout.write(`up: the server was ended by ${signal}\n`);
  return code ?? 1;
}

/** One that runs already, of an older version perhaps, makes room; its sprites do not notice. */
async function replaceRunningServer(): Promise<void> {
  const running = await serverOf(placesOf(dataDirectory).runDirectory);
  if (running === null) return;
  process.stdout.write(`up: taking over from process ${running.pid}; its sprites go on\n`);
  const command = ["stop", "--leave-sprites", "--data", dataDirectory];
  await run(join(binDirectory, "spritesd"), command);
}

function forwardSignals(server: ChildProcess): void {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      const fate = signal === "SIGTERM" ? "go on until the next one comes" : "sleep on disk";
      process.stdout.write(`\nup: stopping the server; your sprites ${fate}\n`);
      server.kill(signal);
    });
  }
}

async function introduce(url: string): Promise<void> {
  try {
    const token = await localToken(url);
    process.stdout.write(`
OpenSprites is up. Ctrl+C stops it and puts its sprites to sleep; the next \`make up\` goes on where it was.

  URL    ${url}
  token  ${token}

In another terminal:

  export PATH="${binDirectory}:$PATH" SPRITES_API_URL=${url} SPRITE_TOKEN=${token}

and then try:

  sprite create first --skip-console
  sprite -s first exec -- python3 -c 'import platform; print("hello from", platform.node())'
  sprite -s first console

`);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    process.stderr.write(`up: the server runs, but there is no token: ${reason}\n`);
    process.stderr.write(
      `up: make one: bin/spritesd token create --org ${orgSlug} --data ${dataDirectory}\n`,
    );
  }
}

/**
 * The token of an earlier run if the server still takes it, else a new one; kept where only root
 * can read it.
 */
async function localToken(url: string): Promise<string> {
  const kept = (await readFile(tokenPath, "utf8").catch(() => "")).trim();
  if (kept !== "" && (await isAccepted(url, kept))) return kept;
  const command = [
    "token",
    "create",
    "--org",
    orgSlug,
    "--data",
    dataDirectory,
    "--description",
    "made by make up",
  ];
  const { stdout } = await run(join(binDirectory, "spritesd"), command);
  const token = stdout.trim();
  await writeSecret(token);
  return token;
}

async function isAccepted(url: string, token: string): Promise<boolean> {
  const response = await fetch(`${url}/v1/sprites?max_results=1`, {
    headers: { authorization: `Bearer ${token}` },
    signal: AbortSignal.timeout(5_000),
  });
  await response.body?.cancel();
  return response.status !== 401;
}

/** Through a new file, whose mode holds from its first byte on. */
async function writeSecret(token: string): Promise<void> {
  await mkdir(dataDirectory, { recursive: true });
  const temporaryPath = `${tokenPath}.${process.pid}`;
  const file = await open(temporaryPath, "wx", 0o600);
  try {
    await file.writeFile(`${token}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporaryPath, tokenPath);
}

process.exitCode = await main();
