/**
 * What the standard images are made of, as data. Everything here goes into the recipe hash, so a
 * change of one line makes a new image, and sprites keep the image they were made with.
 */

export interface Recipe {
  name: ImageName;
  /** Debian suite. Fixed, so that an image does not depend on the machine that builds it. */
  suite: string;
  packages: readonly string[];
  /** Node.js and npm are copied from npm packages, since the suite's own are older. */
  withNode: boolean;
  /** Files written after the packages are installed. */
  files: readonly RecipeFile[];
  /** Shell lines run inside the tree as root, in order, after the files. The first failure ends the build. */
  hooks: readonly string[];
}

export interface RecipeFile {
  path: string;
  content: string;
  mode: number;
}

export const imageNames = ["dev", "minimal", "bench"] as const;
export type ImageName = (typeof imageNames)[number];

export function isImageName(name: string): name is ImageName {
  return (imageNames as readonly string[]).includes(name);
}

/** npm as a registry package: it bundles its dependencies, so unpacking it is installing it. */
export const npmPackage = {
  version: "11.19.1",
  integrity:
    "sha512-ztsxKxt/kkIaAs+2i0GU6I+DRmUdrNasxTZKJe9TCdSjKxlhah/4r/hl5ygMD6XAg1qZ9c2TNomR4qgOydp10g==",
} as const;

const minimalPackages = [
  "bash",
  "bash-completion",
  "ca-certificates",
  "coreutils",
  "curl",
  "iproute2",
  "less",
  "libnss-myhostname",
  "procps",
  "python3",
  "sudo",
] as const;

const devPackages = [
  ...minimalPackages,
  "build-essential",
  "fd-find",
  "file",
  "fish",
  "git",
  "gnupg",
  "iputils-ping",
  "jq",
  "lsof",
  "netcat-openbsd",
  "openssh-client",
  "pkg-config",
  "python-is-python3",
  "python3-dev",
  "python3-pip",
  "python3-venv",
  "ripgrep",
  "rsync",
  "sqlite3",
  "tmux",
  "tree",
  "tzdata",
  "unzip",
  "vim",
  "wget",
  "xz-utils",
  "zip",
  "zsh",
] as const;

/** What `make bench` measures with, so that the sprite and the host run the same binaries. */
const benchPackages = [...devPackages, "fio"] as const;

const searchPath =
  "/.sprite/bin:/home/sprite/.local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const commonFiles: readonly RecipeFile[] = [
  {
    path: "/etc/apt/sources.list.d/debian.sources",
    mode: 0o644,
    content: `Types: deb
URIs: http://deb.debian.org/debian
Suites: trixie trixie-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://deb.debian.org/debian-security
Suites: trixie-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
`,
  },
  {
    // apt's download user cannot read a .deb in somebody's home, and a sprite is one person's machine.
    path: "/etc/apt/apt.conf.d/50sprite",
    mode: 0o644,
    content: `APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
`,
  },
  {
    // A sprite has no init that packages could talk to: without this, installing a server ends in an error.
    path: "/usr/sbin/policy-rc.d",
    mode: 0o755,
    content: `#!/bin/sh
# Services of packages are not started on install: a sprite has no systemd.
# To invoke-rc.d, exit code 101 means "not allowed".
exit 101
`,
  },
  {
    path: "/etc/sudoers.d/sprite",
    mode: 0o440,
    content: `Defaults secure_path="/.sprite/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
sprite ALL=(ALL:ALL) NOPASSWD:ALL
`,
  },
  { path: "/etc/environment", mode: 0o644, content: `PATH="${searchPath}"\nLANG=C.UTF-8\n` },
  { path: "/etc/default/locale", mode: 0o644, content: "LANG=C.UTF-8\n" },
  {
    path: "/etc/profile.d/sprite.sh",
    mode: 0o644,
    content: `# /etc/profile has just set PATH anew, without the sprite's own directories and without sbin.
export PATH="/.sprite/bin:$HOME/.local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
export LANG="\${LANG:-C.UTF-8}"
`,
  },
  {
    path: "/etc/hosts",
    mode: 0o644,
    content: "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n",
  },
  // Emptied, not removed: `machine-id` must exist for programs that open it; whoever boots the
  // sprite fills it.
  { path: "/etc/machine-id", mode: 0o444, content: "" },
];

const devFiles: readonly RecipeFile[] = [
  ...commonFiles,
  // Without a .zshrc the first zsh asks its questions for new users, which hangs an agent.
  { path: "/etc/skel/.zshrc", mode: 0o644, content: "PROMPT='%n@%m:%~%# '\n" },
  {
    path: "/etc/zsh/zshenv",
    mode: 0o644,
    content: "typeset -U path\npath=(/.sprite/bin $HOME/.local/bin $path)\n",
  },
  {
    path: "/etc/fish/conf.d/sprite.fish",
    mode: 0o644,
    content: "fish_add_path --path --prepend /.sprite/bin $HOME/.local/bin\n",
  },
  { path: "/usr/local/etc/npmrc", mode: 0o644, content: "fund=false\nupdate-notifier=false\n" },
  // Agents commit without being asked who they are; git must not stop for it or refuse a checkout
  // owned by another uid.
  {
    path: "/etc/gitconfig",
    mode: 0o644,
    content: "[init]\n\tdefaultBranch = main\n[safe]\n\tdirectory = *\n",
  },
];

const commonHooks = [
  "groupadd --gid 1000 sprite",
  "useradd --uid 1000 --gid 1000 --create-home --home-dir /home/sprite --shell /bin/bash sprite",
  "visudo --check --quiet",
  "mkdir -p /.sprite",
] as const;

const devHooks = [
  ...commonHooks,
  // PEP 668 guards a distribution's Python against its users. A sprite belongs to one user and has
  // undo, and agents call `pip install` globally all the time, so the marker goes. The diversion
  // makes that outlive upgrades of the package.
  `for marker in /usr/lib/python3.*/EXTERNALLY-MANAGED; do
     dpkg-divert --quiet --local --rename --divert "$marker.debian" --add "$marker"
   done`,
  "ln -s /usr/bin/fdfind /usr/local/bin/fd",
] as const;

// The user owns /usr/local, as on a workstation: `pip install` and `npm install --global` need no sudo there.
const lastHooks = [
  "mkdir -p /usr/local/lib/node_modules",
  "chown -R sprite:sprite /usr/local",
] as const;

export const recipes: Readonly<Record<ImageName, Recipe>> = {
  dev: {
    name: "dev",
    suite: "trixie",
    packages: devPackages,
    withNode: true,
    files: devFiles,
    hooks: [...devHooks, ...lastHooks],
  },
  minimal: {
    name: "minimal",
    suite: "trixie",
    packages: minimalPackages,
    withNode: false,
    files: commonFiles,
    hooks: [...commonHooks, ...lastHooks],
  },
  bench: {
    name: "bench",
    suite: "trixie",
    packages: benchPackages,
    withNode: true,
    files: devFiles,
    hooks: [...devHooks, ...lastHooks],
  },
};
