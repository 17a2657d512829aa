/** The machine's own certificate store, which curl, git and most languages use. */
import { existsSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import type { StoreReport } from "./browser-stores.ts";
import { runProgram } from "./run-program.ts";
import type { ServerAuthority } from "./server-authority.ts";

const filePrefix = "opensprites-";

export interface SystemStore {
  directory: string;
  /** Takes in what the directory holds. */
  updateProgram: string;
  updateWords: readonly string[];
}

const known: readonly SystemStore[] = [
  // Debian, Ubuntu, Alpine.
  {
    directory: "/usr/local/share/ca-certificates",
    updateProgram: "update-ca-certificates",
    updateWords: [],
  },
  // Fedora, Red Hat.
  {
    directory: "/etc/pki/ca-trust/source/anchors",
    updateProgram: "update-ca-trust",
    updateWords: ["extract"],
  },
];

/** Null on a machine that we do not know. */
export function findSystemStore(): SystemStore | null {
  return known.find(({ directory }) => existsSync(directory)) ?? null;
}

/** @param store null: there is none that we know */
export function trustInSystem(store: SystemStore | null, authority: ServerAuthority): StoreReport {
  if (store === null) return { place: "the machine's store", problem: unknownStore };
  const file = join(store.directory, `${filePrefix}${authority.domain}.crt`);
  try {
    writeFileSync(file, authority.pem, { mode: 0o644 });
  } catch (error) {
    return { place: file, problem: problemOf(error, "sudo sprite trust --system") };
  }
  return { place: file, problem: update(store) };
}

/** Removes all that was ever added. */
export function forgetInSystem(store: SystemStore | null): StoreReport[] {
  if (store === null) return [];
  const files = readdirSync(store.directory).filter((name) => name.startsWith(filePrefix));
  const reports = files.map((name): StoreReport => {
    const place = join(store.directory, name);
    try {
      rmSync(place);
      return { place, problem: null };
    } catch (error) {
      return { place, problem: problemOf(error, "sudo sprite trust --remove --system") };
    }
  });
  const problem = reports.some((report) => report.problem === null) ? update(store) : null;
  return reports.map((report) => ({ ...report, problem: report.problem ?? problem }));
}

const unknownStore =
  "unknown on this system: `sprite trust --print > ca.pem`, and add that file as your system does";

function update({ updateProgram, updateWords }: SystemStore): string | null {
  return runProgram(updateProgram, updateWords).problem;
}

function problemOf(error: unknown, command: string): string {
  if (error instanceof Error && "code" in error && error.code === "EACCES") {
    return `only root may: ${command}`;
  }
  return error instanceof Error ? error.message : String(error);
}
