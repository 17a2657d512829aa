/** Known holes of OCI runtimes through which a container reaches its host, and who is safe from them. */
import type { RuntimeName } from "../../src/contract/agent-startup.ts";
import { compareVersions, parseVersion } from "./version.ts";

interface Advisory {
  id: string;
  runtime: RuntimeName;
  /**
   * The first safe version of each release line, newest line first; whatever is newer than the
   * first is safe.
   */
  fixedIn: readonly string[];
  /** Versions of distribution packages that carry the fix without saying so in their number. */
  fixedPackages: readonly string[];
  /** Below this nobody should run other people's code. */
  isFloor: boolean;
}

const runc2025 = ["1.4.0-rc.3", "1.3.3", "1.2.8"] as const;

const advisories: readonly Advisory[] = [
  {
    id: "CVE-2024-21626",
    runtime: "runc",
    fixedIn: ["1.1.12"],
    fixedPackages: ["1.1.5+ds1-1+deb12u1"],
    isFloor: true,
  },
  ...["CVE-2025-31133", "CVE-2025-52565", "CVE-2025-52881"].map((id): Advisory => ({
    id,
    runtime: "runc",
    fixedIn: runc2025,
    fixedPackages: [],
    isFloor: false,
  })),
];

export interface RuntimeVersion {
  runtime: RuntimeName;
  /** As upstream counts. */
  version: string;
  /** Version of the distribution's package, or null. */
  packageVersion: string | null;
  /** The package's change log, which names the holes it closes; null where it is not installed. */
  changelog: string | null;
}

/** Ids of the advisories that nothing says are fixed. */
export function openAdvisories(installed: RuntimeVersion): { floor: string[]; other: string[] } {
  const open = advisories.filter(
    (entry) => entry.runtime === installed.runtime && !isFixed(entry, installed),
  );
  return {
    floor: open.filter((entry) => entry.isFloor).map((entry) => entry.id),
    other: open.filter((entry) => !entry.isFloor).map((entry) => entry.id),
  };
}

function isFixed(advisory: Advisory, installed: RuntimeVersion): boolean {
  if (
    installed.packageVersion !== null &&
    advisory.fixedPackages.includes(installed.packageVersion)
  ) {
    return true;
  }
  if (installed.changelog?.includes(advisory.id) === true) return true;
  const version = parseVersion(installed.version);
  if (version === null) return false;
  const fixes = advisory.fixedIn.map(parseVersion).filter((fix) => fix !== null);
  const [newest] = fixes;
  if (newest !== undefined && compareVersions(version, newest) >= 0) return true;
  return fixes.some(
    (fix) =>
      fix.numbers[0] === version.numbers[0] &&
      fix.numbers[1] === version.numbers[1] &&
      compareVersions(version, fix) >= 0,
  );
}
