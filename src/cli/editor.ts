import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Cli } from "./cli.ts";
import { CliError } from "./errors.ts";

const editorDefault = "vi";

/** The text as the user leaves it in an editor. */
export async function editText(cli: Cli, text: string, fileName: string): Promise<string> {
  const { env } = cli.surroundings;
  const editor = env["VISUAL"] || env["EDITOR"] || editorDefault;
  const directory = mkdtempSync(join(tmpdir(), "sprite-edit-"));
  const path = join(directory, fileName);
  try {
    writeFileSync(path, text, { mode: 0o600 });
    // The variable may hold options, as git and others take it; the path is an argument apart.
    const child = spawn("sh", ["-c", `${editor} "$1"`, "sh", path], { stdio: "inherit" });
    const code = await new Promise<number>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (exitCode) => resolve(exitCode ?? 1));
    });
    if (code !== 0) {
      throw new CliError(`${editor} ended with ${code}: nothing was changed`, {
        code: "editor_failed",
        hint: "Another one:  EDITOR=nano sprite ...",
      });
    }
    return readFileSync(path, "utf8");
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
