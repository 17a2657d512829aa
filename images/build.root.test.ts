import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";

import { ensureImage } from "./build.ts";
import { runIsolated } from "./command.ts";
import { lockFile } from "./lock.ts";

const run = promisify(execFile);

/** Runs a script in the image's tree, overlaid with a tmpfs, in a mount namespace that ends with it. */
async function inImage(imagePath: string, script: string): Promise<string> {
  const place = await mkdtemp(join(tmpdir(), "image-"));
  const mounts = `set -e
    mount -t tmpfs none "$1" && cd "$1" && mkdir image upper work root
    mount -t erofs -o loop,ro "$2" image
    mount -t overlay -o lowerdir=image,upperdir=upper,workdir=work none root
    mount -t proc proc root/proc
    mount -t devtmpfs none root/dev
    exec chroot root sh -c "$3"`;
  try {
    return await runIsolated(["sh", "-c", mounts, "sh", place, imagePath, script], {
      timeoutMs: 60_000,
    });
  } finally {
    await rm(place, { recursive: true });
  }
}

test("the minimal image is a machine: user, sudo, python, global pip place, no leftovers", async () => {
  const lines: string[] = [];
  const { path } = await ensureImage("minimal", { log: { info: (line) => lines.push(line) } });
  const output = await inImage(
    path,
    `su - sprite -c 'id -u; pwd; sudo -n id -u; python3 -c "print(6*7)"; echo "$PATH"; echo "$LANG"'
     ls -A /etc/resolv.conf /etc/hostname /var/lib/apt/lists 2>/dev/null | grep -v -e : -e partial -e '^$'
     stat -c '%U' /usr/local/bin; stat -c '%s' /etc/machine-id; /usr/sbin/policy-rc.d; echo $?`,
  );
  assert.equal(
    output,
    [
      ...["1000", "/home/sprite", "0", "42"],
      "/.sprite/bin:/home/sprite/.local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      ...["C.UTF-8", "sprite", "0", "101", ""],
    ].join("\n"),
  );
  const again = performance.now();
  await ensureImage("minimal", { log: { info: () => assert.fail("it is built already") } });
  assert.ok(performance.now() - again < 5_000);
});

test("a killed build leaves no process and no mount, and the next build clears its files", async () => {
  const cacheDirectory = await mkdtemp(join(tmpdir(), "image-cache-"));
  try {
    const module = new URL("./command.ts", import.meta.url).href;
    const script = `import { runIsolated } from ${JSON.stringify(module)};
      const steps = 'mount -t tmpfs half-built "$1"; echo mounted; exec sleep 1000';
      const options = { timeoutMs: 60000, onLine: console.log };
      await runIsolated(["sh", "-c", steps, "sh", process.argv[1]], options);`;
    const builder = spawn(process.execPath, [
      "--input-type=module",
      "--eval",
      script,
      cacheDirectory,
    ]);
    await new Promise((resolve) => builder.stdout.once("data", resolve));
    const { stdout: before } = await run("pgrep", ["--full", "--count", cacheDirectory]);
    assert.ok(Number(before) >= 1);
    builder.kill("SIGKILL");
    const deadlineMs = performance.now() + 5_000;
    const isAlive = async (): Promise<boolean> =>
      await run("pgrep", ["--full", `sh ${cacheDirectory}`]).then(
        () => true,
        () => false,
      );
    while (await isAlive())
      assert.ok(performance.now() < deadlineMs, "the build outlives its builder");
    assert.doesNotMatch((await run("cat", ["/proc/self/mounts"])).stdout, /half-built/);
  } finally {
    await rm(cacheDirectory, { recursive: true });
  }
});

test("only one process at a time holds the build lock", async () => {
  const directory = await mkdtemp(join(tmpdir(), "image-lock-"));
  const path = join(directory, "lock");
  const order: string[] = [];
  const unlock = await lockFile(path, () => assert.fail("nobody holds it"));
  const second = lockFile(path, () => {
    order.push("waits");
    void unlock();
  }).then(async (unlockSecond) => {
    order.push("got it");
    await unlockSecond();
  });
  await second;
  assert.deepEqual(order, ["waits", "got it"]);
  await rm(directory, { recursive: true });
});

test("what a killed build left in the cache directory is removed by the next", async () => {
  const cacheDirectory = await mkdtemp(join(tmpdir(), "image-cache-"));
  const stale = join(cacheDirectory, "building-0123");
  await mkdir(stale);
  await writeFile(join(stale, "image.erofs"), "half");
  // An unreachable mirror ends this build at once, after it has cleared the place.
  process.env["SPRITES_DEBIAN_MIRROR"] = "file:///nowhere";
  try {
    await assert.rejects(
      ensureImage("minimal", { log: { info: () => {} }, cacheDirectory }),
      /build the image "minimal"/,
    );
  } finally {
    delete process.env["SPRITES_DEBIAN_MIRROR"];
  }
  assert.deepEqual(await readdir(cacheDirectory), ["build.lock"]);
  await rm(cacheDirectory, { recursive: true });
});
