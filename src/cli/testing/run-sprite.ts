/** Runs the real `bin/sprite` against a fake server, with a home directory of its own. */
import { spawn as spawnTerminal } from "@lydell/node-pty";
import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { FakeServer, fakeToken } from "./fake-server.ts";

const spritePath = fileURLToPath(new URL("../../../bin/sprite", import.meta.url));
/** Shared by all runs: compiling the client anew for each would make the tests slow. */
const compileCachePath = fileURLToPath(
  new URL("../../../node_modules/.cache/sprite-test", import.meta.url),
);
const waitMsMax = 30_000;

export interface RunResult {
  exitCode: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  stdin?: string | Buffer;
  env?: Record<string, string | undefined>;
}

/** A fake server, a home directory and a working directory, for one file of tests. */
export class SpriteBench {
  readonly server: FakeServer;
  readonly home = mkdtempSync(join(tmpdir(), "sprite-home-"));
  readonly directory = mkdtempSync(join(tmpdir(), "sprite-cwd-"));

  static async start(): Promise<SpriteBench> {
    return new SpriteBench(await FakeServer.start());
  }

  private constructor(server: FakeServer) {
    this.server = server;
  }

  async stop(): Promise<void> {
    await this.server.stop();
    for (const path of [this.home, this.directory]) rmSync(path, { recursive: true, force: true });
  }

  /** Starts the client with pipes. */
  spawn(args: readonly string[], options: RunOptions = {}): ChildProcessWithoutNullStreams {
    return spawn(spritePath, args, {
      cwd: this.directory,
      env: this.#environment(options),
      stdio: ["pipe", "pipe", "pipe"],
    });
  }

  async run(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    const child = this.spawn(args, options);
    child.stdin.on("error", () => {});
    child.stdin.end(options.stdin ?? "");
    return await collect(child);
  }

  /** Starts the client at a terminal of its own. */
  terminal(args: readonly string[], options: RunOptions = {}): TestTerminal {
    return new TestTerminal(args, { cwd: this.directory, env: this.#environment(options) });
  }

  #environment(options: RunOptions): Record<string, string> {
    const env: Record<string, string | undefined> = {
      PATH: process.env["PATH"],
      HOME: this.home,
      XDG_CACHE_HOME: compileCachePath,
      SPRITES_API_URL: this.server.url,
      SPRITE_TOKEN: fakeToken,
      ...options.env,
    };
    const given = Object.entries(env).filter(([, value]) => value !== undefined);
    return Object.fromEntries(given) as Record<string, string>;
  }
}

export async function collect(child: ChildProcessWithoutNullStreams): Promise<RunResult> {
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => stderr.push(chunk));
  const [exitCode, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
  return {
    exitCode,
    signal,
    stdout: Buffer.concat(stdout).toString("utf8"),
    stderr: Buffer.concat(stderr).toString("utf8"),
  };
}

/** A person at a terminal: types, waits for what appears, changes the window. */
export class TestTerminal {
  readonly #terminal: ReturnType<typeof spawnTerminal>;
  readonly exited: Promise<number>;
  screen = "";

  constructor(args: readonly string[], options: { cwd: string; env: Record<string, string> }) {
    const env = { TERM: "xterm-256color", ...options.env };
    this.#terminal = spawnTerminal(spritePath, [...args], {
      cwd: options.cwd,
      env,
      cols: 100,
      rows: 30,
    });
    this.#terminal.onData((text) => (this.screen += text));
    this.exited = new Promise((resolve) => {
      this.#terminal.onExit(({ exitCode }) => resolve(exitCode));
    });
  }

  type(text: string): void {
    this.#terminal.write(text);
  }

  resize(cols: number, rows: number): void {
    this.#terminal.resize(cols, rows);
  }

  async waitFor(pattern: RegExp): Promise<RegExpExecArray> {
    return await waitUntil(
      () => pattern.exec(this.screen) ?? undefined,
      () => {
        return `${String(pattern)} in ${JSON.stringify(this.screen)}`;
      },
    );
  }

  /** Closes the window: the client's terminal is gone. */
  hangUp(): void {
    // The package has this method and leaves it out of its types.
    (this.#terminal as unknown as { destroy(): void }).destroy();
  }

  end(): void {
    this.#terminal.kill("SIGKILL");
  }
}

/** Waits, with a bound, until there is a value. */
export async function waitUntil<T>(look: () => T | undefined, describe: () => string): Promise<T> {
  const endMs = performance.now() + waitMsMax;
  for (;;) {
    const value = look();
    if (value !== undefined) return value;
    if (performance.now() > endMs) throw new Error(`did not come: ${describe()}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
