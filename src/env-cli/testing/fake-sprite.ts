/** The inside of a wrecked sprite: a root directory that holds nothing but `/.sprite`, and its API. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { envCliFiles } from "../files.ts";

export interface SeenRequest {
  method: string;
  url: string;
  contentType: string | undefined;
  body: string;
}

export interface PlannedAnswer {
  status: number;
  /** Sent one after another; the connection ends after the last. */
  parts: readonly string[];
  /** Ends the connection without finishing the answer. */
  isCut?: boolean;
}

export interface RunResult {
  exitCode: number | null;
  stdout: string;
  stderr: string;
}

export class FakeSprite {
  readonly root: string;
  readonly seen: SeenRequest[] = [];
  answer: PlannedAnswer = { status: 200, parts: ["[]"] };
  readonly #server: Server;

  static async start(): Promise<FakeSprite> {
    const sprite = new FakeSprite();
    const socketPath = join(sprite.root, ".sprite", "api.sock");
    sprite.#server.listen(socketPath);
    await once(sprite.#server, "listening");
    chmodSync(socketPath, 0o666);
    return sprite;
  }

  private constructor() {
    this.root = mkdtempSync(join(tmpdir(), "sprite-env-"));
    chmodSync(this.root, 0o755);
    for (const file of envCliFiles()) {
      const path = join(this.root, ".sprite", file.path);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, file.content);
      chmodSync(path, file.mode);
    }
    const busybox = execFileSync("sh", ["-c", "command -v busybox"], { encoding: "utf8" }).trim();
    copyFileSync(busybox, join(this.root, ".sprite", "bin", "busybox"));
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        this.seen.push({
          method: request.method ?? "",
          url: request.url ?? "",
          contentType: request.headers["content-type"],
          body: Buffer.concat(chunks).toString("utf8"),
        });
        const { status, parts, isCut } = this.answer;
        response.writeHead(status, { "Content-Type": "application/json" });
        for (const part of parts) response.write(part);
        if (isCut === true) response.socket?.end();
        else response.end();
      });
    });
  }

  /** Runs `sprite-env` with this root as its only file system, or with all of this machine's. */
  async run(
    args: readonly string[],
    options: { stdin?: string; isWholeMachine?: boolean } = {},
  ): Promise<RunResult> {
    const binPath = join(this.root, ".sprite", "bin");
    const command =
      options.isWholeMachine === true
        ? [join(binPath, "busybox"), "sh", join(binPath, "sprite-env")]
        : ["chroot", this.root, "/.sprite/bin/sprite-env"];
    const [file = "", ...before] = command;
    const socketPath = join(this.root, ".sprite", "api.sock");
    const socketVariable = options.isWholeMachine === true ? { SPRITE_API_SOCKET: socketPath } : {};
    const child = spawn(file, [...before, ...args], {
      env: { PATH: process.env["PATH"] ?? "", ...socketVariable },
      stdio: ["pipe", "pipe", "pipe"],
    });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString("utf8")));
    child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString("utf8")));
    // A command that fails early does not read its input.
    child.stdin.on("error", () => undefined);
    child.stdin.end(options.stdin ?? "");
    const [exitCode] = (await once(child, "close")) as [number | null];
    return { exitCode, stdout, stderr };
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
    rmSync(this.root, { recursive: true, force: true });
  }
}
