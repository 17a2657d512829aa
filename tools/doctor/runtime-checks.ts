import { gunzipSync } from "node:zlib";
import { readFile } from "node:fs/promises";

import { cgroupMode } from "../../src/host/cgroups.ts";
import type { RuntimeName } from "../../src/contract/agent-startup.ts";
import { chooseRuntime } from "../../src/host/runtime.ts";
import { openAdvisories, type RuntimeVersion } from "./advisories.ts";
import { fail, ok, warn, type Finding } from "./finding.ts";
import { probe } from "./probe.ts";
import { compareVersions, parseVersion } from "./version.ts";

/** crun before this refuses a machine with v1 controllers beside an empty v2 hierarchy. */
const crunHybridFloor = "1.9";

export interface RuntimeReport {
  finding: Finding;
  /** The runtime that sprites get, or null. */
  runtime: RuntimeName | null;
}

/** @param wanted The name in SPRITES_RUNTIME, or null for what fits the machine. */
export async function checkRuntime(wanted: string | null): Promise<RuntimeReport> {
  try {
    // The very choice that the server makes.
    const runtime = await chooseRuntime(wanted);
    const installed = await readRuntimeVersion(runtime);
    return { runtime, finding: judgeRuntime(installed, cgroupMode() === "hybrid") };
  } catch (error) {
    const advice = wanted === null ? "run: make deps" : "install it, or unset SPRITES_RUNTIME";
    return { runtime: null, finding: fail("runtime", (error as Error).message, advice) };
  }
}

export function judgeRuntime(installed: RuntimeVersion, isHybrid: boolean): Finding {
  const { runtime, version, packageVersion } = installed;
  const found = `${runtime} ${packageVersion ?? version}`;
  const open = openAdvisories(installed);
  if (open.floor.length > 0) {
    const holes = open.floor.join(", ");
    const advice = `commands can break out to the host (${holes}); run: apt-get install ${runtime}`;
    return fail("runtime", found, advice);
  }
  if (runtime === "crun" && isHybrid && isOlder(version, crunHybridFloor)) {
    return fail(
      "runtime",
      `${found} refuses this machine's hybrid cgroups`,
      "run: apt-get install runc",
    );
  }
  if (open.other.length > 0) {
    const holes = open.other.join(", ");
    const advice =
      `nothing here says that ${holes} are fixed, which upstream did in 1.2.8, 1.3.3 and 1.4.0; ` +
      "upgrade as soon as your distribution has it";
    return warn("runtime", found, advice);
  }
  return ok("runtime", `${found}, no known breakout`);
}

function isOlder(text: string, floor: string): boolean {
  const [left, right] = [parseVersion(text), parseVersion(floor)];
  return left !== null && right !== null && compareVersions(left, right) < 0;
}

async function readRuntimeVersion(runtime: RuntimeName): Promise<RuntimeVersion> {
  const said = await probe([runtime, "--version"]);
  const version = /version[: ]+(\S+)/.exec(said.output)?.[1] ?? said.output.split("\n")[0] ?? "";
  const owner = await probe(["dpkg-query", "--show", "--showformat=${Version}", runtime]);
  const isPackage = owner.works && owner.output !== "";
  return {
    runtime,
    version,
    packageVersion: isPackage ? owner.output : null,
    changelog: isPackage ? await readChangelog(runtime) : null,
  };
}

/** Container images often leave documentation out; then nothing is known from here. */
async function readChangelog(runtime: RuntimeName): Promise<string | null> {
  try {
    return gunzipSync(await readFile(`/usr/share/doc/${runtime}/changelog.Debian.gz`)).toString(
      "utf8",
    );
  } catch {
    return null;
  }
}
