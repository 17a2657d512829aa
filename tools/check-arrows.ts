/** Holds every import to the table of ARCHITECTURE.md section 2: which room may look into which. */
import { readModule } from "./imports.ts";
import {
  isTestFile,
  readSourceFiles,
  reportProblems,
  resolveImport,
  type SourceFile,
} from "./source-files.ts";

/**
 * For each room the places it may import from, besides itself. A place is a room, a directory or a
 * file below `src/` without its ending. ARCHITECTURE.md section 2 has the reasons.
 */
export const arrows: Readonly<Record<string, readonly string[]>> = {
  contract: [],
  base: ["contract"],
  host: ["contract", "base"],
  storage: ["contract", "base"],
  sandbox: ["contract", "base", "host"],
  // Of the programs inside it knows which files to put there.
  agent: ["contract", "base", "host", "storage", "sandbox", "env-cli/files"],
  worker: [
    ...["contract", "base", "host"],
    // It deletes a destroyed sprite's objects, and stores what an agent could not; its image server opens an image's volume.
    ...[
      "storage/object-store/object-store",
      "storage/volume/open-volume",
      "storage/volume/destroy",
      // It makes sprites of others, and writes and reads archives of them, by the bucket alone.
      "storage/volume/fork",
      "storage/archive",
      "storage/volume/image",
    ],
    // The name by which it finds the container that a dead agent left.
    "sandbox/container-id",
  ],
  control: ["contract", "base", "worker/worker"],
  // It knows control and worker by interfaces of its own, and of nobody else.
  edge: ["contract", "base"],
  cli: ["contract"],
  "env-cli": ["contract"],
  // Helpers of tests; a test file may import them whatever its room.
  testing: ["contract", "base", "host", "storage", "sandbox", "agent", "worker", "control", "edge"],
  // The wiring, `spritesd.ts` and `spritesd/`: it chooses implementations, so it sees the rooms
  // that have some.
  spritesd: [
    ...["contract", "base", "host", "worker", "control", "edge"],
    ...[
      "storage/object-store",
      "storage/litestream",
      "storage/audit",
      "storage/volume/image",
      "storage/lease",
      "sandbox/gateway",
      "sandbox/gateway-uplink",
    ],
  ],
};

/**
 * Code outside `src/` may use all of it; the other way only the wiring may, and only to build the
 * standard image.
 */
const outsideImportsOfWiring = ["images/build.ts", "images/recipes.ts"];

export function findForbiddenImports(files: readonly SourceFile[]): string[] {
  const problems: string[] = [];
  for (const file of files) {
    const room = roomOf(file.path);
    if (room === null) continue;
    for (const { specifier, line } of readModule(file.text).imports) {
      const target = resolveImport(file.path, specifier);
      if (target === null) continue;
      const reason = forbidden(file.path, target);
      if (reason !== null) problems.push(`${file.path}:${line}: ${reason}`);
    }
  }
  return problems;
}

function roomOf(path: string): string | null {
  if (!path.startsWith("src/")) return null;
  return (path.split("/")[1] ?? "").replace(/\.ts$/, "");
}

function forbidden(path: string, target: string): string | null {
  const room = roomOf(path) ?? "";
  const allowed = arrows[room];
  if (allowed === undefined)
    return `the room "${room}" is not in the table of tools/check-arrows.ts`;
  const targetRoom = roomOf(target);
  if (targetRoom === null) {
    if (room === "spritesd" && outsideImportsOfWiring.includes(target)) return null;
    return `src/ may not import ${target}, which is not part of the product`;
  }
  if (targetRoom === room) return null;
  if (targetRoom === "testing" && isTestFile(path)) return null;
  const place = target.slice("src/".length).replace(/\.ts$/, "");
  const isAllowed = allowed.some((entry) => place === entry || place.startsWith(`${entry}/`));
  if (isAllowed) return null;
  return `"${room}" may not import ${target}; it may import: ${allowed.join(", ") || "nothing"}`;
}

if (import.meta.main) reportProblems("arrows", findForbiddenImports(readSourceFiles()));
