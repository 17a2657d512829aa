/** A root file system of one program, for tests that need a container and not a distribution. */
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { mountBackingFile } from "../host/block-mount.ts";
import { runCommand } from "../host/command.ts";
import type { HostHelper } from "../host/host-helper.ts";

const applets = [
  "sh",
  "ash",
  "cat",
  "chmod",
  "chown",
  "cp",
  "cut",
  "dd",
  "echo",
  "env",
  "false",
  "find",
  "grep",
];
applets.push(
  "head",
  "hostname",
  "id",
  "ip",
  "kill",
  "ln",
  "ls",
  "md5sum",
  "mkdir",
  "mkfifo",
  "mount",
  "mv",
  "nc",
);
applets.push(
  "nslookup",
  "ping",
  "ps",
  "pwd",
  "readlink",
  "rm",
  "sed",
  "setsid",
  "sleep",
  "sort",
  "stat",
  "stty",
);
applets.push(
  "su",
  "sync",
  "tail",
  "tee",
  "test",
  "touch",
  "tr",
  "true",
  "tty",
  "udhcpc",
  "umount",
  "uname",
  "unshare",
);
applets.push(
  "wc",
  "wget",
  "which",
  "whoami",
  "yes",
  "mknod",
  "seq",
  "sha256sum",
  "sysctl",
  "ulimit",
  "od",
  "xargs",
);

const passwd = ["root:x:0:0:root:/root:/bin/sh", "sprite:x:1000:1000::/home/sprite:/bin/sh", ""];
const group = ["root:x:0:", "tty:x:5:", "sprite:x:1000:", ""];

export interface TinyImage {
  /** The image's file, as `mkfs.erofs` made it. */
  file: string;
  /** Where it is mounted, read-only. */
  directory: string;
  dispose(): Promise<void>;
}

/** Builds and mounts it: BusyBox, the users root and sprite (1000), nothing else. */
export async function makeTinyImage(helper: HostHelper): Promise<TinyImage> {
  const work = mkdtempSync(join(tmpdir(), "tiny-image-"));
  const root = join(work, "root");
  const file = join(work, "image.erofs");
  const directory = join(work, "mnt");
  populate(root);
  mkdirSync(directory);
  await runCommand("mkfs.erofs", [file, root], { deadlineMs: 10_000 });
  await mountBackingFile(helper, {
    backingFile: file,
    readOnly: true,
    directIo: false,
    target: directory,
    fileSystem: "erofs",
  });
  return {
    file,
    directory,
    dispose: async () => {
      await helper.run({ type: "unmount", target: directory });
      rmSync(work, { recursive: true });
    },
  };
}

function populate(root: string): void {
  for (const name of [
    "bin",
    "dev",
    "etc",
    "proc",
    "root",
    "run",
    "sys",
    "tmp",
    "usr",
    "var",
    ".sprite",
  ]) {
    mkdirSync(join(root, name), { recursive: true });
  }
  mkdirSync(join(root, "home/sprite"), { recursive: true });
  copyFileSync("/usr/bin/busybox", join(root, "bin/busybox"));
  chmodSync(join(root, "bin/busybox"), 0o755);
  for (const name of applets) symlinkSync("busybox", join(root, "bin", name));
  // A set-uid program of root, to test that it works inside; BusyBox itself refuses to be one.
  copyFileSync("/usr/bin/busybox", join(root, "bin/su-busybox"));
  chmodSync(join(root, "bin/su-busybox"), 0o4755);
  writeFileSync(join(root, "etc/passwd"), passwd.join("\n"));
  writeFileSync(join(root, "etc/group"), group.join("\n"));
  chmodSync(join(root, "tmp"), 0o1777);
}
