/** Finds exports that nobody imports and files that no program reaches. */
import { readdirSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";

import { readModule, type ExportedName, type ModuleShape } from "./imports.ts";
import {
  isTestFile,
  readSourceFiles,
  reportProblems,
  repositoryDirectory,
  resolveImport,
  type SourceFile,
} from "./source-files.ts";

interface Usage {
  /** Files that import the name, or all names, of a file. */
  importersOf: Map<string, Map<string, Set<string>>>;
}

/**
 * @param entryText What starts programs: the Makefile and the scripts. A TypeScript file named
 * there is an entry point.
 */
export function findDeadCode(files: readonly SourceFile[], entryText: string): string[] {
  const modules = new Map(files.map((file) => [file.path, readModule(file.text)]));
  return [...findUnreachedFiles(modules, entryText), ...findUnusedExports(modules)].sort();
}

function findUnreachedFiles(
  modules: ReadonlyMap<string, ModuleShape>,
  entryText: string,
): string[] {
  const reached = new Set<string>();
  const queue = [...modules.keys()].filter((path) => isEntryPoint(path, entryText));
  for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
    if (reached.has(path)) continue;
    reached.add(path);
    const shape = modules.get(path);
    if (shape === undefined) continue;
    for (const { specifier } of shape.imports) queue.push(resolveImport(path, specifier) ?? "");
    for (const name of shape.fileNames) queue.push(...filesNamed(name, path, modules));
  }
  return [...modules.keys()]
    .filter((path) => !reached.has(path) && !isTestFile(path) && !isTestSupport(path))
    .map((path) => `${path}:1: no program reaches this file (tests beside the code do not count)`);
}

/** A unit test is no entry point: code that only its own test runs is dead. */
function isEntryPoint(path: string, entryText: string): boolean {
  if (path.startsWith("test/")) return true;
  return !isTestFile(path) && entryText.includes(path);
}

function isTestSupport(path: string): boolean {
  const name = posix.basename(path);
  return (
    path.startsWith("test/") ||
    /\/(?:testing|fixtures)\//.test(path) ||
    /^(?:fake|test)-|^testing\.ts$/.test(name)
  );
}

/** A string such as "../agent/main.ts" or "agent/main.ts" names each file whose path ends so. */
function filesNamed(
  name: string,
  fromPath: string,
  modules: ReadonlyMap<string, ModuleShape>,
): string[] {
  const cleaned = name
    .replace(/`$/, "")
    .replace(/^[^\w.]*/, "")
    .replace(/^(?:\.{1,2}\/)+/, "");
  const beside = posix.join(posix.dirname(fromPath), cleaned);
  if (modules.has(beside)) return [beside];
  return [...modules.keys()].filter((path) => path === cleaned || path.endsWith(`/${cleaned}`));
}

function findUnusedExports(modules: ReadonlyMap<string, ModuleShape>): string[] {
  const { importersOf } = collectUsage(modules);
  const problems: string[] = [];
  for (const [path, shape] of modules) {
    if (isTestSupport(path)) continue;
    for (const exported of shape.exports) {
      const byName = importersOf.get(path);
      const importers = [...(byName?.get(exported.name) ?? []), ...(byName?.get("*") ?? [])];
      const reason = whyUnused(exported, shape, importers);
      if (reason !== null) problems.push(`${path}:${exported.line}: ${exported.name} ${reason}`);
    }
  }
  return problems;
}

function collectUsage(modules: ReadonlyMap<string, ModuleShape>): Usage {
  const importersOf: Usage["importersOf"] = new Map();
  for (const [path, shape] of modules) {
    for (const { specifier, names } of shape.imports) {
      const target = resolveImport(path, specifier);
      if (target === null) continue;
      const byName = importersOf.get(target) ?? new Map<string, Set<string>>();
      importersOf.set(target, byName);
      for (const name of names) byName.set(name, (byName.get(name) ?? new Set()).add(path));
    }
  }
  return { importersOf };
}

function whyUnused(
  exported: ExportedName,
  shape: ModuleShape,
  importers: readonly string[],
): string | null {
  if (importers.some((path) => !isTestFile(path))) return null;
  const isUsedHere = (shape.identifierCounts.get(exported.name) ?? 0) > 1;
  if (importers.length > 0) return isUsedHere ? null : "is used by its tests only";
  // A type that describes an exported function belongs to its interface, imported by name or not.
  if (exported.isType && isUsedHere) return null;
  return isUsedHere ? "is exported, but only this file uses it" : "is exported, but nobody uses it";
}

/** The texts that start programs. */
function readEntryText(root: string): string {
  const scripts = readdirSync(join(root, "bin")).map((name) => join("bin", name));
  const shells = readdirSync(join(root, "tools")).filter((name) => name.endsWith(".sh"));
  const paths = [
    "Makefile",
    "tools/check.ts",
    ...scripts,
    ...shells.map((name) => join("tools", name)),
  ];
  return paths.map((path) => readFileSync(join(root, path), "utf8")).join("\n");
}

if (import.meta.main) {
  reportProblems("dead code", findDeadCode(readSourceFiles(), readEntryText(repositoryDirectory)));
}
