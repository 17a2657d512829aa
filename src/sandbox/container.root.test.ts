import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { after, before, describe, test } from "node:test";

import { createLog } from "../base/log.ts";
import { identifyProcess, isAlive } from "../base/process-identity.ts";
import { waitUntil } from "../base/wait.ts";
import { runCommand } from "../host/command.ts";
import { createHostHelper } from "../host/host-helper.ts";
import { makeTinyDisk, type TinyDisk } from "../testing/tiny-disk.ts";
import { makeTinyImage, type TinyImage } from "../testing/tiny-image.ts";
import { containerId } from "./container-id.ts";
import { createSandbox } from "./container.ts";
import { machineId } from "./init-script.ts";
import type { ExitStatus } from "./process.ts";
import type { Sandbox, SandboxOptions } from "./sandbox.ts";

const log = createLog({ level: "silent", room: "test" });
const helper = createHostHelper(log);
const spriteId = `test-${process.pid}`;
const busybox = "/.sprite/bin/busybox";

let image: TinyImage;
let disk: TinyDisk;
let directory: string;
let options: SandboxOptions;

before(async () => {
  helper.start();
  image = await makeTinyImage(helper);
  disk = await makeTinyDisk(helper);
  directory = mkdtempSync(join(tmpdir(), "sandbox-"));
  chmodSync(directory, 0o711);
  // As the agent does: nobody on the machine passes through to the socket inside.
  mkdirSync(join(directory, "private"), { mode: 0o700 });
  mkdirSync(join(directory, "private/dot-sprite"));
  options = {
    spriteId,
    isFork: false,
    name: "my-box",
    diskDirectory: disk.directory,
    imageDirectory: image.directory,
    runDirectory: directory,
    dotSpriteDirectory: join(directory, "private/dot-sprite"),
    hostIdBase: 3_000_000,
    limits: { memoryBytesMax: 256 * 1024 * 1024, cpuCoresMax: 1.5, pidsMax: 100 },
    network: {
      gatewayNamespacePath: null,
      slotIndex: 0,
      interfaceName: "unused",
      address: "",
      gatewayAddress: "",
      nameserver: "127.0.0.1",
    },
    runtime: "runc",
    runtimeRoot: join(directory, "runtime"),
    cgroupPath: `/opensprites-test-${process.pid}/0`,
  };
});

after(async () => {
  await disk.dispose();
  await image.dispose();
  await helper.close();
  rmSync(directory, { recursive: true });
  for (const root of cgroupRoots()) {
    await runCommand("rmdir", [join(root, `opensprites-test-${process.pid}`)], {
      deadlineMs: 5000,
    }).catch(() => {});
  }
});

async function withSandbox(
  body: (sandbox: Sandbox) => Promise<void>,
  changes: Partial<SandboxOptions> = {},
): Promise<void> {
  const sandbox = createSandbox({ ...options, ...changes }, log, { helper });
  await sandbox.start();
  try {
    await body(sandbox);
  } finally {
    await sandbox.stop();
  }
}

/** Runs a script as the guest's root; all its output, whatever its exit code. */
async function asRoot(script: string): Promise<string> {
  const args = ["--root", options.runtimeRoot, "exec", containerId(spriteId)];
  const all = [...args, busybox, "sh", "-c", `( ${script}\n) 2>&1; true`];
  return (await runCommand("runc", all, { deadlineMs: 10_000 })).stdout;
}

/** Runs a script as the image's user. */
async function asUser(
  sandbox: Sandbox,
  script: string,
): Promise<{ output: string; exit: ExitStatus }> {
  const command = {
    argv: ["sh", "-c", `exec 2>&1; ${script}`],
    path: "/bin/sh",
    environment: [["PATH", "/bin"]] as const,
    directory: "/",
  };
  const running = await sandbox.launch(command, { stdin: false });
  running.stderr.resume();
  return { output: await textOf(running.stdout), exit: await running.exited };
}

test("a guest that uses up all inodes can still run commands, and give them back", async () => {
  const small = await makeTinyDisk(helper, { sizeBytes: 136 * 1024 * 1024 });
  const runDirectory = join(directory, "small");
  const places = {
    runDirectory,
    dotSpriteDirectory: join(runDirectory, "private/dot-sprite"),
    runtimeRoot: join(runDirectory, "runtime"),
    diskDirectory: small.directory,
    spriteId: `${spriteId}-small`,
  };
  mkdirSync(runDirectory, { mode: 0o711 });
  try {
    await withSandbox(async (sandbox) => {
      const fill =
        "mkdir /tmp/many; n=0; while [ $n -lt 60000 ] && true > /tmp/many/$n; do n=$((n+1)); done; echo $n";
      const { output } = await asUser(sandbox, fill);
      assert.match(output, /No space left on device/);
      assert.ok(Number(output.trim().split("\n").at(-1)) < 60_000, output);
      const after = await asUser(
        sandbox,
        "echo alive; rm -r /tmp/many; : > /tmp/one && echo again",
      );
      assert.equal(after.output, "alive\nagain\n");
    }, places);
  } finally {
    await small.dispose();
  }
});

async function textOf(stream: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}

describe("a started sandbox", () => {
  test("runs commands as the image's user and forwards their output and exit code", async () => {
    await withSandbox(async (sandbox) => {
      const { output, exit } = await asUser(sandbox, "id; hostname; cat /etc/hosts; exit 7");
      assert.match(output, /^uid=1000.*\nmy-box\n[^]*127.0.1.1 my-box\n$/);
      assert.deepEqual(exit, { kind: "exited", code: 7 });
    });
  });

  test("is somebody: its machine id is its own, and the same at each start", async () => {
    const ids: string[] = [];
    for (let start = 0; start < 2; start++) {
      await withSandbox(async () => void ids.push(await asRoot("cat /etc/machine-id")));
    }
    assert.deepEqual(ids, Array(2).fill(`${machineId(spriteId)}\n`));
    // Whatever the guest has made of it stays.
    await withSandbox(async () => void (await asRoot("echo mine > /etc/machine-id")));
    await withSandbox(async () => assert.equal(await asRoot("cat /etc/machine-id"), "mine\n"));
  });

  test("that was started without a name gets one later, also when it has slept meanwhile", async () => {
    const spare = { isSpare: true, name: "nobody" };
    await withSandbox(async (sandbox) => {
      assert.equal(await asRoot("uname -n"), "nobody\n");
      await sandbox.pause();
      await sandbox.resume();
      await sandbox.setName("late-box");
      assert.equal(await asRoot("uname -n; cat /etc/hostname"), "late-box\nlate-box\n");
      assert.match(await asRoot("cat /etc/hosts"), /^127\.0\.1\.1 late-box$/m);
      assert.equal(await asRoot("grep -c nobody /etc/hosts"), "0\n");
      assert.notEqual(hostname(), "late-box");
    }, spare);
    await withSandbox(
      async () => {
        assert.equal(await asRoot("grep -c late-box /etc/hosts"), "1\n");
        await asRoot(
          "grep -v late-box /etc/hosts > /tmp/hosts; cat /tmp/hosts > /etc/hosts; rm /tmp/hosts",
        );
      },
      { name: "late-box" },
    );
  });

  test("of a fork renews what says who its source was, once", async () => {
    const key = "/etc/ssh/ssh_host_rsa_key";
    await withSandbox(async () => {
      await asRoot(`
        mkdir -p /etc/ssh /var/lib/dbus /var/lib/systemd /usr/local/bin
        echo source > /etc/machine-id; echo source > /var/lib/dbus/machine-id
        echo source > /var/lib/systemd/random-seed
        for end in "" .pub -cert.pub; do echo source > ${key}$end; done
        echo stays > /etc/ssh/sshd_config; echo "10.0.0.9 my-box" >> /etc/hosts
        printf '#!%s sh\necho "$@" > ${key}; echo new > ${key}.pub\n' ${busybox} > /usr/local/bin/ssh-keygen
        chmod 755 /usr/local/bin/ssh-keygen`);
    });
    const fork = { isFork: true, name: "its-fork" };
    await withSandbox(async () => {
      const files = await asRoot(`cat /etc/machine-id /etc/hosts ${key} ${key}.pub; ls /etc/ssh`);
      assert.ok(files.startsWith(`${machineId(spriteId)}\n127.0.0.1 localhost`), files);
      assert.ok(!files.includes("source") && !files.includes("127.0.1.1 my-box"), files);
      assert.match(files, /10\.0\.0\.9 my-box\n127\.0\.1\.1 its-fork\n/);
      assert.match(files, /-t rsa .*-C root@its-fork -f \/etc\/ssh\/ssh_host_rsa_key\nnew\n/);
      assert.match(files, /\nssh_host_rsa_key\nssh_host_rsa_key\.pub\nsshd_config\n$/);
      assert.equal(await asRoot("ls /var/lib/dbus /var/lib/systemd | grep -e id -e seed"), "");
      await asRoot(`echo mine > ${key}`);
    }, fork);
    await withSandbox(async () => assert.equal(await asRoot(`cat ${key}`), "mine\n"), fork);
  });

  test("keeps what root changes, with the guest's own ids on the disk", async () => {
    await withSandbox(async () => {
      await asRoot("echo kept > /etc/kept; mkdir /home/sprite/d; chown 1000:1000 /home/sprite/d");
      // A directory of the image can be renamed, as on any disk.
      assert.equal(await asRoot("rm /bin/yes; mv /home/sprite /home/moved"), "");
    });
    await withSandbox(async () => {
      const seen = await asRoot("cat /etc/kept; stat -c %u /home/moved/d; ls /bin/yes");
      assert.match(seen, /^kept\n1000\nls: \/bin\/yes: No such file/);
      await asRoot("mv /home/moved /home/sprite");
    });
    assert.equal(statSync(join(disk.directory, "upper")).uid, 0);
    assert.equal(statSync(join(disk.directory, "upper/home/sprite/d")).uid, 1000);
  });

  test("honours set-uid bits inside, and runs nothing on the disk's own mount", async () => {
    await withSandbox(async (sandbox) => {
      // `su` is the applet that keeps root; without a password on the account it lets everybody in.
      await asRoot(
        "cp /bin/busybox /bin/su-applet; chmod 4755 /bin/su-applet; ln -sf su-applet /bin/su",
      );
      await asRoot("sed -i s/^root:x:/root::/ /etc/passwd");
      const { output } = await asUser(
        sandbox,
        "/bin/su -s /bin/sh root -c 'id -u; touch /root/by-root'",
      );
      assert.equal(output, "0\n");
      assert.equal(await asRoot("stat -c %u /root/by-root"), "0\n");
      const file = join(disk.directory, "upper/bin/su-applet");
      await assert.rejects(runCommand(file, ["true"], { deadlineMs: 5000 }), {
        code: "system_call",
      });
    });
  });

  test("limits processes and memory", async () => {
    await withSandbox(async () => {
      const pids = cgroupRoots()
        .map((root) => join(root, options.cgroupPath, "pids.max"))
        .find((path) => existsSync(path));
      assert.equal(readFileSync(pids ?? "", "utf8"), "100\n");
      const many =
        "i=0; while [ $i -lt 200 ]; do sleep 5 >/dev/null 2>&1 & i=$((i+1)); done; echo all";
      assert.match(await asRoot(many), /can't fork/);
    });
    await withSandbox(async () => {
      const memory = await asRoot("dd if=/dev/zero of=/dev/null bs=400M count=1; echo $?");
      assert.match(memory, /137|Killed|out of memory/i);
    });
  });

  test("reaps orphans", async () => {
    await withSandbox(async () => {
      await asRoot("for i in 1 2 3; do ( sleep 0.2 & ) ; done");
      const gone = await waitUntil(async () => !/sleep|\bZ/.test(await asRoot("ps -o stat,comm")), {
        timeoutMs: 30_000,
      });
      assert.ok(gone, await asRoot("ps -o stat,comm"));
    });
  });

  test("refuses what reaches the machine", async () => {
    const attempts = [
      "mount -t tmpfs x /tmp",
      "umount /run",
      "unshare -U true",
      "unshare -n true",
      "unshare -m true",
      "mknod /tmp/sda b 8 0",
      `${busybox} dmesg`,
      `${busybox} date -s 2000-01-01`,
      `${busybox} swapoff /etc/passwd`,
      "echo 1 > /proc/sys/kernel/panic",
      "echo x > /.sprite/x",
      "ip link set lo down",
      "ip addr add 192.0.2.77/32 dev lo",
      `${busybox} hostname other`,
      `${busybox} rmmod loop`,
    ];
    await withSandbox(async () => {
      for (const attempt of attempts) {
        const answer = await asRoot(attempt);
        assert.match(answer, /not permitted|denied|Read-only/i, attempt);
      }
      // Hidden, or not there on this kernel; never readable.
      assert.match(await asRoot("cat /proc/kcore | wc -c"), /(^|\n)0\n$/);
      assert.match(await asRoot("ls /sys/class/net"), /^lo\n$/);
    });
  });

  test("boots with nothing but its disk left, whatever stands in the way", async () => {
    await withSandbox(async () => {
      const b = busybox;
      await asRoot(`${b} rm -rf /usr /etc /bin /home /var; ${b} ln -s /nowhere /etc`);
      await asRoot(`${b} mkdir /x; for d in tmp srv; do ${b} rm -rf /$d; ${b} ln -s /x /$d; done`);
    });
    await withSandbox(async () => {
      assert.match(
        await asRoot(`${busybox} cat /etc/hostname /etc/resolv.conf`),
        /^my-box\nnameserver/,
      );
      // Renamed mount points come back as ordinary directories.
      await asRoot(`${busybox} rm -rf /usr`);
    });
    // What a guest cannot do itself while they are mounted, an earlier server or a restored
    // checkpoint may have.
    const upper = join(disk.directory, "upper");
    await runCommand("sh", ["-c", `cd ${upper}; rm -rf proc dev; ln -s / proc; echo > dev`], {
      deadlineMs: 5000,
    });
    await withSandbox(async () => {
      assert.match(await asRoot(`${busybox} ls -ld /dev /proc`), /^drwxr-xr-x.*\ndr-xr-xr-x/);
      await asRoot(`${busybox} rm -rf /etc /tmp /srv`);
    });
    await runCommand("rm", ["-rf", join(upper, "bin"), join(upper, "home")], { deadlineMs: 5000 });
  });

  test("follows no link of the guest when it writes its files", async () => {
    const outside = join(directory, "outside");
    await withSandbox(async () => {
      await asRoot(
        `${busybox} rm -f /etc/resolv.conf; ${busybox} ln -s ${outside} /etc/resolv.conf`,
      );
    });
    await withSandbox(async () => {
      assert.match(await asRoot(`${busybox} ls -l /etc/resolv.conf`), /^-rw-r--r--/);
    });
    assert.ok(!existsSync(outside));
  });

  test("shows a checkpoint that is mounted while it runs, and hides it again", async () => {
    await asDisk("echo old > upper/report");
    const frozen = await makeTinyDisk(helper);
    try {
      mkdirSync(join(frozen.directory, "upper"));
      await runCommand(
        "cp",
        [join(disk.directory, "upper/report"), join(frozen.directory, "upper")],
        {
          deadlineMs: 5000,
        },
      );
      await withSandbox(async (sandbox) => {
        await asRoot(`${busybox} sh -c 'echo new > /report'`);
        await sandbox.showCheckpoint({ checkpointId: "v1", diskDirectory: frozen.directory });
        const inside = "/.sprite/checkpoints/v1";
        const seen = await asRoot(
          `${busybox} cat /report ${inside}/report; ${busybox} ls ${inside}/bin/busybox`,
        );
        assert.equal(seen, `new\nold\n${inside}/bin/busybox\n`);
        assert.match(await asRoot(`${busybox} touch ${inside}/x`), /Read-only/);
        await sandbox.hideCheckpoint("v1");
        assert.equal(await asRoot(`${busybox} ls /.sprite/checkpoints`), "");
        await sandbox.showCheckpoint({ checkpointId: "v1", diskDirectory: frozen.directory });
      });
    } finally {
      await frozen.dispose();
    }
  });
});

describe("the end of a sandbox", () => {
  test("leaves no process, mount, cgroup or container, and may be asked for twice", async () => {
    const sandbox = createSandbox(options, log, { helper });
    await sandbox.start();
    const pid = Number(readFileSync(join(directory, "bundle/pid"), "utf8"));
    await asRoot(`( ${busybox} sleep 1000 >/dev/null 2>&1 & )`);
    await Promise.all([sandbox.stop(), sandbox.stop()]);
    await sandbox.stop();
    assert.ok(!existsSync(`/proc/${pid}`) || identifyProcess(pid) === null);
    assert.ok(!readFileSync("/proc/self/mountinfo", "utf8").includes(directory));
    for (const root of cgroupRoots()) assert.ok(!existsSync(join(root, options.cgroupPath)));
    assert.deepEqual(readdirSync(options.runtimeRoot), []);
    await assert.rejects(
      sandbox.launch({ argv: ["x"], path: "x", environment: [], directory: "/" }, { stdin: false }),
    );
  });

  test("is told when the first process ends by itself, and not when it is stopped", async () => {
    const sandbox = createSandbox(options, log, { helper });
    await sandbox.start();
    process.kill(Number(readFileSync(join(directory, "bundle/pid"), "utf8")), "SIGKILL");
    assert.match((await sandbox.died).reason, /first process/);
    await sandbox.stop();

    const second = createSandbox(options, log, { helper });
    let died = false;
    void second.died.then(() => {
      died = true;
    });
    await second.start();
    await second.stop();
    assert.equal(died, false);
  });

  test("comes with the agent's own, even by SIGKILL", async () => {
    const agent = spawn(process.execPath, ["--input-type=module", "-e", agentProgram(options)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [line] = (await once(agent.stdout, "data")) as [Buffer];
    const pid = Number(line.toString("utf8"));
    const first = identifyProcess(pid);
    assert.ok(first !== null);
    agent.kill("SIGKILL");
    assert.ok(await waitUntil(() => !isAlive(first), { timeoutMs: 30_000 }));
    // What is left has no process; the next start of the same sprite begins with it.
    await withSandbox(async () => {
      assert.match(await asRoot(`${busybox} hostname`), /my-box/);
    });
    await runCommand("umount", ["--lazy", join(directory, "rootfs"), options.dotSpriteDirectory], {
      deadlineMs: 5000,
    });
  });

  test("names the directory through which the guest cannot pass", async () => {
    chmodSync(directory, 0o700);
    const sandbox = createSandbox(options, log, { helper });
    const message = new RegExp(`chmod o\\+x ${directory}$`);
    await assert.rejects(sandbox.start(), { code: "start_failed", message });
    chmodSync(directory, 0o711);
  });

  test("undoes a start that fails half-way", async () => {
    const changes = { limits: { ...options.limits, memoryBytesMax: 1 } };
    const sandbox = createSandbox({ ...options, ...changes }, log, { helper });
    await assert.rejects(sandbox.start(), { code: "start_failed" });
    await sandbox.stop();
    assert.ok(!readFileSync("/proc/self/mountinfo", "utf8").includes(directory));
    assert.deepEqual(readdirSync(options.runtimeRoot), []);
  });
});

/** Changes the sprite's disk behind its back, while nothing runs. */
async function asDisk(script: string): Promise<void> {
  await runCommand("sh", ["-c", script], { deadlineMs: 5000, directory: disk.directory });
}

/** An agent reduced to its sandbox: prints the first process's id and waits. */
function agentProgram(value: SandboxOptions): string {
  const at = (path: string) => JSON.stringify(new URL(path, import.meta.url).href);
  return `
    import { readFileSync } from "node:fs";
    import { createLog } from ${at("../base/log.ts")};
    import { createSandbox } from ${at("./container.ts")};
    const options = ${JSON.stringify(value)};
    await createSandbox(options, createLog({ level: "silent", room: "test" })).start();
    console.log(readFileSync(options.runDirectory + "/bundle/pid", "utf8"));
    setInterval(() => {}, 1000);
  `;
}

/** Roots of all cgroup hierarchies. */
function cgroupRoots(): string[] {
  const lines = readFileSync("/proc/self/mounts", "utf8").split("\n");
  const mounts = lines.map((line) => line.split(" "));
  return mounts.filter(([, , type]) => type?.startsWith("cgroup")).map(([, path = ""]) => path);
}
