/** Commands that our documents show, executed as they are printed. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { TestServer } from "./server.ts";

const root = resolve(import.meta.dirname, "../..");

/** Every page's commands together, and whatever they start, end within this. */
const scriptMsMax = 180_000;

/** The shell blocks of a Markdown text that stand behind `<!-- MARKER -->`, in order. */
export function markedBlocks(markdown: string, marker: string): string[] {
  const pattern = new RegExp(`^<!-- ${marker} -->\\s*\`\`\`sh\\n([\\s\\S]*?)^\`\`\``, "gm");
  return [...markdown.matchAll(pattern)].map((match) => match[1] ?? "");
}

export interface ScriptOptions {
  /** What `.sprite` in the script's directory names. */
  selection?: { organization: string; sprite: string };
  /** The server's own when absent. */
  token?: string;
}

/**
 * Runs a script in a directory of its own, with the commands of `bin/` and the SDK at hand, as a user
 * of the server. Never rejects for an exit code.
 */
export async function runScript(
  server: TestServer,
  script: string,
  options: ScriptOptions = {},
): Promise<{ code: number | null; output: string }> {
  const directory = await mkdtemp(join(tmpdir(), "opensprites-docs-"));
  try {
    // For ES modules, which do not look at NODE_PATH.
    await symlink(join(root, "node_modules"), join(directory, "node_modules"));
    if (options.selection !== undefined) {
      await writeFile(join(directory, ".sprite"), JSON.stringify(options.selection));
    }
    const child = spawn("bash", ["-euo", "pipefail", "-c", script], {
      cwd: directory,
      env: {
        ...process.env,
        PATH: `${join(root, "bin")}:${process.env["PATH"]}`,
        HOME: directory,
        SPRITES_API_URL: server.url,
        SPRITE_TOKEN: options.token ?? server.token,
        NODE_PATH: join(root, "node_modules"),
      },
      stdio: ["ignore", "pipe", "pipe"],
      // A group of its own, so that what the script left in the background ends with it.
      detached: true,
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (bytes: Buffer) => (output += bytes.toString()));
    }
    const timer = setTimeout(() => endGroup(child.pid), scriptMsMax);
    const exited = once(child, "exit").then(() => endGroup(child.pid));
    const [code] = (await once(child, "close")) as [number | null];
    await exited;
    clearTimeout(timer);
    return { code, output };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

function endGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // Nothing of it is left.
  }
}
