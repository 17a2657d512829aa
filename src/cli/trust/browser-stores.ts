/** The certificate stores of Chromium and Firefox in a home directory, through NSS's own `certutil`. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { runProgram } from "./run-program.ts";
import type { ServerAuthority } from "./server-authority.ts";
import { storesMax } from "../limits.ts";

/** Names of ours in a store begin so. */
const namePrefix = "OpenSprites ";

export interface StoreReport {
  place: string;
  /** Null: done. */
  problem: string | null;
}

/** Chromium's is made if there is none yet: a browser that is installed later finds it. */
export function trustInBrowsers(home: string, authority: ServerAuthority): StoreReport[] {
  const chromium = join(home, ".pki/nssdb");
  if (!isCertutilThere()) {
    const problem = "certutil is missing: apt-get install libnss3-tools";
    return [{ place: chromium, problem }];
  }
  makeStore(chromium);
  const name = namePrefix + authority.domain;
  const directory = mkdtempSync(join(tmpdir(), "sprite-trust-"));
  try {
    const file = join(directory, "ca.pem");
    writeFileSync(file, authority.pem);
    return storesOf(home).map((place) => {
      // An earlier one of that name would stay beside it.
      certutil(place, ["-D", "-n", name]);
      const words = ["-A", "-n", name, "-t", "C,,", "-i", file];
      return { place, problem: certutil(place, words).problem };
    });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Removes all that was ever added; the stores that had something. */
export function forgetInBrowsers(home: string): StoreReport[] {
  return storesOf(home).flatMap((place) =>
    ourNames(place).map((name) => {
      const { problem } = certutil(place, ["-D", "-n", name]);
      return { place, problem };
    }),
  );
}

function ourNames(place: string): string[] {
  const lines = certutil(place, ["-L"]).stdout.split("\n");
  return lines
    .filter((line) => line.startsWith(namePrefix))
    .map((line) => line.replace(/\s+\S+\s*$/, ""));
}

function storesOf(home: string): string[] {
  const profiles = [
    ".mozilla/firefox",
    ".config/mozilla/firefox",
    "snap/firefox/common/.mozilla/firefox",
  ].flatMap((parent) => childrenOf(join(home, parent)));
  const fixed = [".pki/nssdb", ".local/share/pki/nssdb", "snap/chromium/current/.pki/nssdb"];
  const places = [...fixed.map((path) => join(home, path)), ...profiles];
  return places.filter((place) => existsSync(join(place, "cert9.db"))).slice(0, storesMax);
}

function childrenOf(directory: string): string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory).map((name) => join(directory, name));
}

function makeStore(place: string): void {
  if (existsSync(join(place, "cert9.db"))) return;
  mkdirSync(place, { recursive: true, mode: 0o700 });
  certutil(place, ["-N", "--empty-password"]);
}

function isCertutilThere(): boolean {
  return runProgram("certutil", ["-H"]).isFound;
}

function certutil(place: string, words: string[]): { stdout: string; problem: string | null } {
  const [action = "", ...rest] = words;
  return runProgram("certutil", [action, "-d", `sql:${place}`, ...rest]);
}
