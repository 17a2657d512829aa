import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, posix, relative } from "node:path";
import { fileURLToPath } from "node:url";

export const repositoryDirectory = dirname(dirname(fileURLToPath(import.meta.url)));

export interface SourceFile {
  /** Relative to the repository, with forward slashes. */
  path: string;
  text: string;
}

const codeDirectories = ["src", "test", "bench", "tools", "images"];

/** Every TypeScript file of ours, in a stable order. */
export function readSourceFiles(root: string = repositoryDirectory): SourceFile[] {
  const files: SourceFile[] = [];
  for (const directory of codeDirectories) {
    const entries = readdirSync(join(root, directory), { recursive: true, withFileTypes: true });
    for (const entry of entries) {
      if (!entry.isFile() || !entry.name.endsWith(".ts")) continue;
      const path = join(entry.parentPath, entry.name);
      if (path.includes("/node_modules/")) continue;
      files.push({ path: relative(root, path), text: readFileSync(path, "utf8") });
    }
  }
  return files.sort((left, right) => (left.path < right.path ? -1 : 1));
}

export function isTestFile(path: string): boolean {
  return path.endsWith(".test.ts");
}

/** The repository path that a relative import names, or null for a package. */
export function resolveImport(fromPath: string, specifier: string): string | null {
  if (!specifier.startsWith(".")) return null;
  return posix.join(posix.dirname(fromPath), specifier);
}

/** Prints problems as `path:line: text` and sets the exit code, as each checker does when run by itself. */
export function reportProblems(checker: string, problems: readonly string[]): void {
  for (const problem of problems) process.stdout.write(`${problem}\n`);
  if (problems.length === 0) return;
  process.stdout.write(
    `${checker}: ${problems.length} problem${problems.length === 1 ? "" : "s"}\n`,
  );
  process.exitCode = 1;
}
