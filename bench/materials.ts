/** Real trees for the small-file rows, fetched once and kept: the source of the Go compiler, and a project with its npm cache. */
import { createHash } from "node:crypto";
import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { runCommand } from "../src/host/command.ts";
import { say } from "./cleanup.ts";

export interface Materials {
  /** A plain tar of about 9,000 source files. */
  sourceTar: string;
  /** A plain tar with `project/` (package.json, package-lock.json) and `npm-cache/`, enough for `npm ci --offline`. */
  npmTar: string;
}

const keptDirectory = "/var/cache/opensprites/bench";
const projectDirectory = join(import.meta.dirname, "npm-project");
const downloadTimeoutMs = 300_000;

export async function ensureMaterials(): Promise<Materials> {
  await mkdir(keptDirectory, { recursive: true });
  const lock = await readFile(join(projectDirectory, "package-lock.json"));
  const lockHash = createHash("sha256").update(lock).digest("hex").slice(0, 8);
  return {
    sourceTar: await ensureFile("go-source.tar", downloadSource),
    npmTar: await ensureFile(`npm-${lockHash}.tar`, fillNpmCache),
  };
}

/** A file appears under its name when it is whole. */
async function ensureFile(
  name: string,
  make: (workDirectory: string, path: string) => Promise<void>,
): Promise<string> {
  const path = join(keptDirectory, name);
  if ((await stat(path).catch(() => null)) !== null) return path;
  say(`fetching ${name} (once per machine)`);
  const workDirectory = await mkdtemp(join(keptDirectory, "making-"));
  try {
    const made = join(workDirectory, name);
    await make(workDirectory, made);
    await rename(made, path);
  } finally {
    await rm(workDirectory, { recursive: true, force: true });
  }
  return path;
}

async function downloadSource(workDirectory: string, path: string): Promise<void> {
  const options = { deadlineMs: downloadTimeoutMs, directory: workDirectory };
  // `golang-src` only names the release's own version.
  const { stdout } = await runCommand("apt-cache", ["depends", "golang-src"], options);
  const packageName = /Depends: (golang-\S+-src)/.exec(stdout)?.[1];
  if (packageName === undefined) throw new Error("apt knows no golang-src: run apt-get update");
  await runCommand(
    "apt-get",
    ["download", "-qq", "-o", "APT::Sandbox::User=root", packageName],
    options,
  );
  const archive = (await readdir(workDirectory)).find((name) => name.endsWith(".deb"));
  const script = 'dpkg-deb --fsys-tarfile "$1" > "$2"';
  await runCommand("bash", ["-c", script, "unpack", archive ?? "", path], options);
}

async function fillNpmCache(workDirectory: string, path: string): Promise<void> {
  const project = join(workDirectory, "project");
  await cp(projectDirectory, project, { recursive: true });
  const cache = join(workDirectory, "npm-cache");
  // npm's own environment: the person's settings say how it reaches the registry.
  const environment = { ...process.env, npm_config_update_notifier: "false" } as Record<
    string,
    string
  >;
  const quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--cache", cache];
  await runCommand("npm", ["ci", ...quiet], {
    ...{ deadlineMs: downloadTimeoutMs, directory: project, environment },
  });
  await rm(join(project, "node_modules"), { recursive: true });
  await rm(join(cache, "_logs"), { recursive: true, force: true });
  await runCommand("tar", ["-C", workDirectory, "-cf", path, "project", "npm-cache"], {
    deadlineMs: downloadTimeoutMs,
  });
}
