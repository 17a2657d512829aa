import assert from "node:assert/strict";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { createLog } from "../base/log.ts";
import { waitUntil } from "../base/wait.ts";
import { makeTinyDisk, type TinyDisk } from "../testing/tiny-disk.ts";
import { runCommand } from "./command.ts";
import { formatExt4 } from "./ext4.ts";
import { createHostHelper } from "./host-helper.ts";

const log = createLog({ level: "silent", room: "test" });
let helper = createHostHelper(log);
let directory: string;

before(() => {
  helper.start();
  directory = mkdtempSync(join(tmpdir(), "host-helper-"));
});

after(async () => {
  await helper.close();
  rmSync(directory, { recursive: true });
});

/** The helper's process, found as the child of this one that runs it. */
function helperPid(): number {
  const children = readFileSync(`/proc/self/task/${process.pid}/children`, "utf8")
    .trim()
    .split(" ");
  const found = children.find((pid) => {
    const command = existsSync(`/proc/${pid}/cmdline`)
      ? readFileSync(`/proc/${pid}/cmdline`, "utf8")
      : "";
    return command.includes("host-helper-process");
  });
  return Number(found);
}

describe("freezing", () => {
  let disk: TinyDisk;

  before(async () => {
    disk = await makeTinyDisk(helper);
  });
  after(() => disk.dispose());

  /** True once a write to the disk has come through. */
  function beginWrite(): () => boolean {
    let done = false;
    void runCommand("sh", ["-c", "date > file"], {
      deadlineMs: 30_000,
      directory: disk.directory,
    }).then(() => {
      done = true;
    });
    return () => done;
  }

  test("holds writes back until the thaw, which says that it was in time", async () => {
    let wasInTime = false;
    // On a busy machine the watchdog may be the first.
    for (let attempt = 0; attempt < 5 && !wasInTime; attempt++) {
      await helper.freeze(disk.directory);
      const written = beginWrite();
      const wasWritten = await waitUntil(written, { timeoutMs: 100 });
      wasInTime = await helper.thaw(disk.directory);
      if (wasInTime) assert.equal(wasWritten, false);
      assert.ok(await waitUntil(written, { timeoutMs: 30_000 }));
    }
    assert.ok(wasInTime);
  });

  test("ends by itself after half a second, which a later thaw admits", async () => {
    const start = performance.now();
    await helper.freeze(disk.directory);
    const written = beginWrite();
    assert.ok(await waitUntil(written, { timeoutMs: 30_000 }));
    assert.ok(performance.now() - start > 300);
    assert.equal(await helper.thaw(disk.directory), false);
  });

  test("ends when the helper is killed while it holds the file system", async () => {
    await helper.freeze(disk.directory);
    process.kill(helperPid(), "SIGKILL");
    assert.ok(await waitUntil(beginWrite(), { timeoutMs: 30_000 }));
  });

  test("ends when whoever asked for it goes away", async () => {
    const other = createHostHelper(log);
    await other.freeze(disk.directory);
    const written = beginWrite();
    await other.close();
    assert.ok(await waitUntil(written, { timeoutMs: 30_000 }));
  });

  test("lets nothing else run meanwhile, so that nothing can wait for the frozen file system", async () => {
    await helper.freeze(disk.directory);
    let synced = false;
    const sync = helper.run({ type: "sync_file_system", directory: disk.directory }).then(() => {
      synced = true;
    });
    assert.equal(await waitUntil(() => synced, { timeoutMs: 100 }), false);
    await helper.thaw(disk.directory);
    await sync;
  });
});

describe("loop devices", () => {
  const backing = (name: string): string => {
    const path = join(directory, name);
    writeFileSync(path, Buffer.alloc(1024 * 1024));
    return path;
  };
  const attribute = (device: string, name: string): string => {
    try {
      return readFileSync(`/sys/block/${device.replace("/dev/", "")}/${name}`, "utf8").trim();
    } catch {
      // It goes while it is looked at.
      return "";
    }
  };
  /** Anybody may have it again at once. */
  const isLetGo = async (device: string, name: string): Promise<boolean> =>
    await waitUntil(() => attribute(device, "loop/backing_file") !== join(directory, name), {
      timeoutMs: 10_000,
    });

  test("have 4 KiB sectors, go round the page cache, and go away when released", async () => {
    const device = await helper.attachLoop({ backingFile: backing("a"), readOnly: false });
    assert.equal(attribute(device, "queue/logical_block_size"), "4096");
    assert.equal(attribute(device, "loop/dio"), "1");
    assert.equal(attribute(device, "loop/autoclear"), "1");
    assert.equal(attribute(device, "ro"), "0");
    await helper.releaseLoop(device);
    assert.ok(await isLetGo(device, "a"));
  });

  test("may be read-only, and never collide", async () => {
    const options = { backingFile: backing("b"), readOnly: true };
    const devices = await Promise.all([1, 2, 3].map(() => helper.attachLoop(options)));
    assert.equal(new Set(devices).size, 3);
    for (const device of devices) {
      assert.equal(attribute(device, "ro"), "1");
      await helper.releaseLoop(device);
    }
  });

  test("go away with a helper that is killed", async () => {
    const device = await helper.attachLoop({ backingFile: backing("c"), readOnly: false });
    process.kill(helperPid(), "SIGKILL");
    assert.ok(await isLetGo(device, "c"));
    // The kernel may be faster than the news of its end: what is asked in between fails with it.
    const make = { path: join(directory, "d"), mode: 0o700, userId: 0, groupId: 0 };
    const isMade = (): Promise<boolean> =>
      helper.run({ type: "make_directory", ...make }).then(
        () => true,
        () => false,
      );
    assert.ok(await waitUntil(isMade, { timeoutMs: 30_000 }));
  });
});

describe("operations", () => {
  test("fail with the call's name and error, and the helper goes on", async () => {
    await assert.rejects(helper.run({ type: "unmount", target: join(directory, "none") }), {
      code: "system_call",
      command: "umount2",
      errno: "ENOENT",
    });
    await assert.rejects(
      helper.run({ type: "mount", source: "x", target: directory, fileSystem: "none", flags: [] }),
      { errno: "ENODEV" },
    );
    await assert.rejects(
      helper.attachLoop({ backingFile: join(directory, "none"), readOnly: true }),
      {
        errno: "ENOENT",
      },
    );
  });

  test("past the deadline the helper is left behind and the next operation gets another", async () => {
    const stuck = helperPid();
    process.kill(stuck, "SIGSTOP");
    const sync = { type: "sync_file_system", directory } as const;
    await assert.rejects(helper.run(sync, { deadlineMs: 100 }), { code: "deadline_exceeded" });
    await helper.run(sync);
    assert.notEqual(helperPid(), stuck);
  });

  test("wait for their turn without using up their own time", async () => {
    const slow = helperPid();
    process.kill(slow, "SIGSTOP");
    const first = helper.run({ type: "sync_file_system", directory }, { deadlineMs: 5000 });
    const second = helper.run({ type: "sync_file_system", directory }, { deadlineMs: 100 });
    const early = await Promise.race([second.then(() => "done"), sleep(300, "still waiting")]);
    process.kill(slow, "SIGCONT");
    assert.equal(early, "still waiting");
    await Promise.all([first, second]);
    assert.equal(helperPid(), slow);
  });

  test("make directories and FIFOs with owner and mode, whatever the umask", async () => {
    const path = join(directory, "made");
    await helper.run({ type: "make_directory", path, mode: 0o777, userId: 5, groupId: 6 });
    const made = statSync(path);
    assert.deepEqual([made.uid, made.gid, made.mode & 0o7777], [5, 6, 0o777]);
    const paths = [1, 2, 3].map((number) => join(path, `fifo-${number}`));
    await helper.run({ type: "make_fifos", paths, mode: 0o622, userId: 7, groupId: 8 });
    for (const fifo of paths) {
      const found = statSync(fifo);
      assert.ok(found.isFIFO());
      assert.deepEqual([found.uid, found.gid, found.mode & 0o7777], [7, 8, 0o622]);
    }
  });

  test("make ordinary directories in the place of links, following none", async () => {
    const root = join(directory, "root");
    mkdirSync(join(root, "kept"), { recursive: true });
    writeFileSync(join(root, "kept/file"), "");
    await runCommand("ln", ["-s", directory, join(root, "link")], { deadlineMs: 1000 });
    const names = ["kept", "link", "new"];
    await helper.run({ type: "ensure_directories", root, names, fileSystemUserId: 4_000_000 });
    assert.ok(existsSync(join(root, "kept/file")));
    assert.equal(statSync(join(root, "new")).uid, 4_000_000);
    assert.equal(existsSync(join(root, "link/root")), false);
  });

  test("make no directory of a link, and leave what it leads to as it was", async () => {
    const victim = join(directory, "victim");
    mkdirSync(victim);
    chmodSync(victim, 0o751);
    chownSync(victim, 7, 8);
    const path = join(directory, "planted");
    symlinkSync(victim, path);
    const make = { type: "make_directory", path, mode: 0o700, userId: 0, groupId: 0 } as const;
    await assert.rejects(helper.run(make), { code: "system_call" });
    const found = statSync(victim);
    assert.deepEqual([found.uid, found.gid, found.mode & 0o7777], [7, 8, 0o751]);
  });

  test("make no layer of a link: a disk from elsewhere may have one to a directory of the host", async () => {
    const disk = join(directory, "planted-disk");
    const [secret = "", target = "", image = ""] = ["secret", "merged", "image"].map((name) =>
      join(directory, name),
    );
    for (const path of [disk, secret, target, image, `${secret}/in`, `${secret}/work`]) {
      mkdirSync(path);
    }
    writeFileSync(`${secret}/in/file`, "the host's");
    symlinkSync(`${secret}/in`, join(disk, "upper"));
    symlinkSync(`${secret}/work`, join(disk, "work"));
    const mount = { type: "overlay_mount", target, fileSystemUserId: 0 } as const;
    const layers = [
      { lowerDirectories: [join(disk, "upper"), image] },
      {
        lowerDirectories: [image],
        writable: { upperDirectory: join(disk, "upper"), workDirectory: join(disk, "work") },
      },
    ];
    for (const each of layers) {
      await assert.rejects(helper.run({ ...mount, ...each, flags: [] }), { errno: "ENOTDIR" });
      assert.equal(existsSync(`${target}/file`), false);
    }
  });

  test("an idle child ends, and comes back when it is needed", async () => {
    await helper.close();
    helper = createHostHelper(log, { idleMsMax: 100 });
    await helper.run({ type: "sync_file_system", directory });
    assert.ok(helperPid() > 0);
    assert.ok(await waitUntil(() => Number.isNaN(helperPid()), { timeoutMs: 30_000 }));
    await helper.run({ type: "sync_file_system", directory });
  });
});

describe("ext4", () => {
  test("costs little before the first file, and checks as clean", async () => {
    const file = join(directory, "disk");
    writeFileSync(file, "");
    await runCommand("truncate", ["-s", "100G", file], { deadlineMs: 1000 });
    await formatExt4(file, { label: "sprite" });
    assert.ok(statSync(file).blocks * 512 < 1024 * 1024, `${statSync(file).blocks * 512} bytes`);
    await runCommand("e2fsck", ["-f", "-n", file], { deadlineMs: 10_000 });
  });
});
