/** A real server for a test file: its own data directory, the minimal image, and a namespace that plays the internet. */
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { SpritesClient } from "@fly/sprites";
import { isAlive } from "../../src/base/process-identity.ts";
import { waitUntil } from "../../src/base/wait.ts";
import { createToken } from "../../src/control/tokens.ts";
import { placesOf, type Places } from "../../src/worker/places.ts";
import { childrenOf, killAll, signalAll } from "./processes.ts";

const root = resolve(import.meta.dirname, "../..");
const run = promisify(execFile);

/** Making the image on a machine that never had it takes under a minute. */
const readyTimeoutMs = 180_000;
/** More than a server ever needs, on a machine that is busy: what it may need is tested in leaks.root.test.ts. */
const stopTimeoutMs = 30_000;

export interface TestServerOptions {
  dataDirectory?: string;
  uplink?: string;
  image?: string;
  arguments?: string[];
  /** One that its bucket knows already; else one is made. */
  token?: string;
}

export class TestServer {
  readonly dataDirectory: string;
  readonly places: Places;
  #options: TestServerOptions;
  #child: ChildProcess | null = null;
  #url = "";
  #wasKilled = false;
  #token = "";
  #log: string[] = [];

  private constructor(dataDirectory: string, options: TestServerOptions) {
    this.dataDirectory = dataDirectory;
    this.places = placesOf(dataDirectory);
    this.#options = options;
    this.#token = options.token ?? "";
  }

  static async start(options: TestServerOptions = {}): Promise<TestServer> {
    const dataDirectory =
      options.dataDirectory ?? (await mkdtemp(join(tmpdir(), "opensprites-test-")));
    const server = new TestServer(dataDirectory, options);
    try {
      await server.startProcess();
    } catch (error) {
      await server.close();
      throw error;
    }
    return server;
  }

  /** For the next start. */
  setArguments(given: string[]): void {
    this.#options = { ...this.#options, arguments: given };
  }

  get url(): string {
    return this.#url;
  }

  get token(): string {
    return this.#token;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** What the server and its agents logged, one JSON text a line. */
  get log(): readonly string[] {
    return this.#log;
  }

  client(options: { controlMode?: boolean } = {}): SpritesClient {
    return new SpritesClient(this.#token, { baseURL: this.#url, ...options });
  }

  /** An authorised request with fetch. */
  async request(path: string, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers);
    headers.set("authorization", `Bearer ${this.#token}`);
    return await fetch(`${this.#url}${path}`, { ...init, headers });
  }

  async startProcess(): Promise<void> {
    const child = spawn(
      join(root, "bin/spritesd"),
      [
        ...["serve", "--data", this.dataDirectory, "--listen", "127.0.0.1:0"],
        ...["--listen-tls", "127.0.0.1:0"],
        ...["--image", this.#options.image ?? "minimal"],
        ...["--uplink", this.#options.uplink ?? "none"],
        // Sleep is for the tests that are about it.
        ...["--idle-window", "off", "--pool", "0"],
        ...(this.#options.arguments ?? []),
      ],
      { stdio: ["ignore", "pipe", "pipe"] },
    );
    this.#child = child;
    createInterface({ input: child.stderr }).on("line", (line) => {
      this.#log.push(line);
      if (process.env["SPRITES_TEST_VERBOSE"] !== undefined) process.stderr.write(`${line}\n`);
    });
    this.#url = await readyLine(child, () => this.#log.slice(-20).join("\n"));
    // In this process: the command takes a third of a second, and every file of tests pays for it.
    const { dataDirectory } = this;
    if (this.#token === "")
      this.#token = createToken({ dataDirectory, orgSlug: "acme", description: "" });
  }

  /** As an operator does. */
  async createToken(orgSlug: string): Promise<string> {
    const { stdout } = await run(join(root, "bin/spritesd"), [
      ...["token", "create", "--org", orgSlug, "--data", this.dataDirectory],
    ]);
    return stdout.trim();
  }

  /** Ends the server and all its sprites, as a user does; the milliseconds it took. */
  async stop(): Promise<number> {
    const start = performance.now();
    await this.#end("SIGINT");
    return performance.now() - start;
  }

  /** Ends the server as an upgrade does: its sprites wait for the next. */
  async leave(): Promise<void> {
    await this.#end("SIGTERM");
  }

  /** Kills the server's own process and nothing else. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  /** Kills the server and everything that it has started. */
  async killAll(): Promise<void> {
    const children = await childrenOf(this.places);
    await Promise.all([this.kill(), killAll(children)]);
  }

  /** Stops the server if it runs, and what waits for another, and removes its data. */
  async close(): Promise<void> {
    await this.#end("SIGINT");
    const orphans = (await childrenOf(this.places)).filter(isAlive);
    signalAll(orphans, "SIGTERM");
    await waitUntil(() => !orphans.some(isAlive), { timeoutMs: stopTimeoutMs });
    await killAll(orphans);
    // Of one that was killed and not started again, as on a machine that is lost.
    if (this.#wasKilled) {
      for (const path of [this.places.runDirectory, `${this.places.runDirectory}.lock`]) {
        await rm(path, { recursive: true, force: true });
      }
    }
    await rm(this.dataDirectory, { recursive: true, force: true });
  }

  /** Runs `bin/sprite` against this server. Never rejects for an exit code. */
  async cli(
    args: string[],
    options: { cwd?: string; input?: string } = {},
  ): Promise<{ code: number; stdout: string; stderr: string }> {
    const child = spawn(join(root, "bin/sprite"), args, {
      cwd: options.cwd ?? this.dataDirectory,
      env: {
        ...process.env,
        HOME: this.dataDirectory,
        SPRITES_API_URL: this.#url,
        SPRITE_TOKEN: this.#token,
      },
      stdio: ["pipe", "pipe", "pipe"],
    });
    child.stdin.end(options.input ?? "");
    const [stdout, stderr] = [collect(child.stdout), collect(child.stderr)];
    const [code] = (await once(child, "close")) as [number | null];
    return { code: code ?? -1, stdout: await stdout, stderr: await stderr };
  }

  async #end(signal: "SIGINT" | "SIGTERM" | "SIGKILL"): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill(signal);
    this.#wasKilled = signal === "SIGKILL";
    const timer = setTimeout(() => (this.#wasKilled = child.kill("SIGKILL")), stopTimeoutMs);
    await exited;
    clearTimeout(timer);
    if (!this.#wasKilled || signal === "SIGKILL") return;
    throw new Error(`the server did not stop:\n${this.#log.slice(-20).join("\n")}`);
  }
}

async function readyLine(child: ChildProcess, logTail: () => string): Promise<string> {
  const output = child.stdout;
  if (output === null) throw new Error("the server's output is not piped");
  return await new Promise<string>((done, fail) => {
    const timer = setTimeout(() => fail(new Error(`not ready:\n${logTail()}`)), readyTimeoutMs);
    createInterface({ input: output }).on("line", (line) => {
      const match = /^ready (http:\S+)$/.exec(line);
      if (match?.[1] === undefined) return;
      clearTimeout(timer);
      done(match[1]);
    });
    child.once("exit", (code, signal) => {
      clearTimeout(timer);
      fail(new Error(`the server ended (${code ?? signal}) before it was ready:\n${logTail()}`));
    });
  });
}

async function collect(stream: NodeJS.ReadableStream): Promise<string> {
  let text = "";
  stream.setEncoding("utf8");
  for await (const part of stream) text += String(part);
  return text;
}
