import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { chmodSync, chownSync, copyFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";

import { waitUntil } from "../../base/wait.ts";
import type { Command, ExitStatus, PipeProcess } from "../process.ts";
import { startTestContainer, type TestContainer } from "./testing.ts";

const environment = [
  ["PATH", "/usr/local/bin:/usr/bin:/bin"],
  ["HOME", "/home/sprite"],
] as const;

/** The oldest process of that name is the spawner; its children bear it too. */
const killSpawner = ["pkill", "-KILL", "-o", "-f", "run/spawner"];

let container: TestContainer;
before(async () => {
  container = await startTestContainer();
});
after(async () => {
  await container[Symbol.asyncDispose]();
});

function commandOf(argv: readonly string[], parts: Partial<Command> = {}): Command {
  return { argv, path: argv[0] ?? "", environment, directory: "/home/sprite", ...parts };
}

function launch(argv: readonly string[], stdin = false, parts: Partial<Command> = {}) {
  return container.launcher.launch(commandOf(argv, parts), { stdin });
}

interface Result {
  stdout: Buffer;
  stderr: string;
  status: ExitStatus;
}

async function collect(process: PipeProcess): Promise<Result> {
  const [stdout, stderr, status] = await Promise.all([
    buffer(process.stdout),
    buffer(process.stderr),
    process.exited,
  ]);
  return { stdout, stderr: stderr.toString(), status };
}

async function run(argv: readonly string[], parts: Partial<Command> & { input?: string } = {}) {
  const process = await launch(argv, parts.input !== undefined, parts);
  process.stdin?.end(parts.input);
  const { stdout, stderr, status } = await collect(process);
  const code = status.kind === "exited" ? status.code : status.reason;
  return { stdout: stdout.toString(), stderr, code, process };
}

async function spawnerPid(): Promise<string> {
  return (await run(["pgrep", "-o", "-f", "run/spawner"])).stdout;
}

test("a command has three streams, its own session, and nothing of its launcher", async () => {
  const script =
    "ls /proc/self/fd | tr '\\n' ' '; grep -E 'SigBlk|SigIgn|CapEff' /proc/self/status; " +
    "set -- $(cat /proc/$$/stat); echo $$ $5 $6; tty; pwd; umask; env | sort";
  const { stdout, stderr, code, process } = await run(["sh", "-c", script]);
  const lines = stdout.split("\n");
  // The fourth descriptor is that of `ls` itself.
  assert.equal(lines[0], "0 1 2 3 SigBlk:\t0000000000000000");
  // Node gives signals 1 to 31 their default effect; the real-time signals above are the C library's own.
  assert.match(lines[1] ?? "", /^SigIgn:\t[0-9a-f]{8}[08]0000000$/);
  assert.equal(lines[2], "CapEff:\t0000000000000000");
  assert.equal(lines[3], `${process.pid} ${process.pid} ${process.pid}`);
  assert.deepEqual(lines.slice(4, 7), ["not a tty", "/home/sprite", "0022"]);
  const variables = lines.slice(7).filter((line) => line !== "");
  assert.deepEqual(variables, [
    "HOME=/home/sprite",
    "PATH=/usr/local/bin:/usr/bin:/bin",
    "PWD=/home/sprite",
  ]);
  assert.deepEqual([stderr, code, process.executable], ["", 0, "/usr/bin/sh"]);
});

test("exit codes are the command's, and 128 + n after a signal", async () => {
  for (const [script, code] of [
    ["exit 0", 0],
    ["exit 7", 7],
    ["exit 255", 255],
    ["kill -TERM $$", 143],
    ["kill -KILL $$", 137],
    ["kill -INT $$", 130],
    ["kill -SEGV $$", 139],
  ] as const) {
    assert.equal((await run(["bash", "-c", script])).code, code, script);
  }
});

test("what cannot run says why on stderr", async () => {
  writeFileSync(join(container.directory, "rootfs/tmp/noshebang"), "echo plain $1\n");
  writeFileSync(join(container.directory, "rootfs/tmp/badshebang"), "#!/nowhere\n");
  for (const name of ["noshebang", "badshebang"]) {
    chmodSync(join(container.directory, "rootfs/tmp", name), 0o755);
  }
  const cases: Array<[string[], Partial<Command>, number, RegExp]> = [
    [["nonesuch"], {}, 127, /nonesuch: command not found/],
    [["/nonesuch"], {}, 127, /\/nonesuch: command not found/],
    [[""], {}, 127, /command not found/],
    [["/etc/passwd"], {}, 126, /permission denied/],
    [["/etc"], {}, 126, /is a directory/],
    [["/tmp/badshebang"], {}, 127, /badshebang/],
    [["pwd"], { directory: "/nonesuch" }, 126, /\/nonesuch: no such directory/],
    [["pwd"], { directory: "/etc/passwd" }, 126, /not a directory/],
    [["pwd"], { directory: "-" }, 126, /no such directory/],
  ];
  for (const [argv, parts, code, message] of cases) {
    const result = await run(argv, parts);
    assert.equal(result.code, code, argv.join(" "));
    assert.match(result.stderr, message);
    assert.equal(result.stdout, "");
  }
  assert.deepEqual((await run(["/tmp/noshebang", "x"])).stdout, "plain x\n");
});

test("a command may have another name than its path, and a path of its own", async () => {
  const named = await run(["other name", "-c", "echo $0"], { path: "bash" });
  assert.equal(named.stdout, "other name\n");
  const own = await run(["./tool"], { path: "./echo", directory: "/usr/bin" });
  assert.equal(own.stdout, "\n");
});

test("any text travels unchanged through argv, environment and directory", async () => {
  const text = fc.string({ unit: "binary", maxLength: 40 }).map((s) => s.replaceAll("\0", ""));
  await fc.assert(
    fc.asyncProperty(fc.array(text, { maxLength: 6 }), text, async (words, value) => {
      const script = 'printf "%s\\0" "$X" "$@"';
      const result = await run(["sh", "-c", script, "sh", ...words], {
        environment: [...environment, ["X", value]],
      });
      const expected = [value, ...words].map((word) => `${Buffer.from(word).toString()}\0`);
      assert.equal(result.stdout, expected.join(""));
    }),
    { interruptAfterTimeLimit: 4_000, numRuns: 60 },
  );
});

test("awkward texts, names and sizes travel too", async () => {
  const awkward = [
    "\n",
    "'",
    "''\\''",
    "$(id)",
    "`id`",
    "$HOME",
    "\\",
    "*",
    "-e",
    "%s",
    "ü€🙂",
    " ",
    "",
    "\x7f\x80",
  ];
  const { stdout } = await run(["printf", "[%s]", ...awkward]);
  assert.equal(stdout, awkward.map((word) => `[${word}]`).join(""));
  const odd = await run(["env"], {
    environment: [...environment, ["A-B", "1\n2"], ["IFS", "x"], ["PWD", "/p"]],
  });
  for (const line of ["A-B=1\n2\n", "IFS=x\n", "PWD=/p\n"])
    assert.ok(odd.stdout.includes(line), line);
  assert.equal((await run(["pwd"], { directory: "/tmp" })).stdout, "/tmp\n");
  const elsewhere = { directory: "/nonesuch", fallbackDirectory: "/" };
  assert.equal((await run(["pwd"], elsewhere)).stdout, "/\n");
  const directory = "it's $(a) \n dir";
  await run(["mkdir", "-p", `/tmp/${directory}`]);
  assert.equal(
    (await run(["pwd"], { directory: `/tmp/${directory}` })).stdout,
    `/tmp/${directory}\n`,
  );
  const words = Array.from({ length: 10 }, (_, i) => String(i).repeat(100_000));
  const large = await run(["printf", "%s", ...words]);
  assert.equal(large.stdout, words.join(""));
});

test("arguments beyond what the kernel takes are an error of the command", async () => {
  const { code, stderr } = await run(["printf", "%s", "a".repeat(200_000)]);
  assert.equal(code, 126);
  assert.match(stderr, /too long/);
});

test("input ends exactly where it is ended, and not before", async () => {
  assert.equal((await run(["cat"], { input: "" })).stdout, "");
  const process = await launch(["cat"], true);
  const output = collect(process);
  process.stdin?.write("one ");
  await sleep(50);
  process.stdin?.end("two");
  assert.equal((await output).stdout.toString(), "one two");
});

test("without input a command reads its end at once", async () => {
  assert.equal((await run(["cat"])).stdout, "");
  assert.equal((await run(["readlink", "/proc/self/fd/0"])).stdout, "/dev/null\n");
});

test("the standard streams can be opened by name, also after their end", async () => {
  const script = "sleep 0.1; echo out >/dev/stdout; echo err >/dev/stderr; cat /dev/stdin";
  const { stdout, stderr } = await run(["bash", "-c", script], { input: "in" });
  assert.deepEqual([stdout, stderr], ["out\nin", "err\n"]);
});

test("input that nobody reads does not keep a command from ending", async () => {
  const process = await launch(["true"], true);
  process.stdin?.write(Buffer.alloc(1024 * 1024));
  const { status } = await collect(process);
  assert.deepEqual(status, { kind: "exited", code: 0 });
  const closing = await launch(["bash", "-c", "exec 0<&-; echo closed; sleep 0.1"], true);
  closing.stdin?.write(Buffer.alloc(256 * 1024));
  assert.equal((await collect(closing)).stdout.toString(), "closed\n");
});

test("100 MB pass through a command unchanged", async () => {
  const process = await launch(["cat"], true);
  const sent = createHash("sha256");
  const received = createHash("sha256");
  let receivedBytes = 0;
  process.stdout.on("data", (bytes: Buffer) => {
    receivedBytes += bytes.length;
    received.update(bytes);
  });
  process.stderr.resume();
  const block = randomBytes(1_000_000);
  for (let i = 0; i < 100; i++) {
    sent.update(block);
    await new Promise<void>((resolve) => process.stdin?.write(block, () => resolve()));
  }
  process.stdin?.end();
  assert.deepEqual(await process.exited, { kind: "exited", code: 0 });
  assert.ok(await waitUntil(() => process.stdout.readableEnded, { timeoutMs: 30_000 }));
  assert.equal(receivedBytes, 100_000_000);
  assert.equal(received.digest("hex"), sent.digest("hex"));
});

test("1,000 commands in parallel lose no byte and leave nothing behind", async () => {
  let started = 0;
  const worker = async () => {
    while (started < 1_000) {
      const number = ++started;
      const { stdout, stderr, code } = await run(["echo", `ok ${number}`]);
      assert.deepEqual([stdout, stderr, code], [`ok ${number}\n`, "", 0]);
    }
  };
  await Promise.all(Array.from({ length: 20 }, worker));
  const fifos = join(container.directory, "sprite/run");
  const isClean = () => readdirSync(fifos).every((name) => !name.endsWith(".start"));
  assert.ok(isClean());
  const processes = async () => (await run(["ps", "-eo", "stat,args"])).stdout.split("\n");
  const noZombie = async () => (await processes()).every((line) => !line.startsWith("Z"));
  await sleep(100);
  // The one that `ps` itself comes through may be ending.
  assert.ok(await waitUntil(noZombie, { timeoutMs: 30_000, intervalMs: 100 }));
});

test("a signal reaches the whole group, and what runs as the guest's root", async () => {
  const process = await launch(["bash", "-c", "sleep 100 & sleep 100 & wait"]);
  const output = collect(process);
  await sleep(50);
  process.kill("SIGTERM");
  // Both streams end only when the grandchildren are gone as well.
  assert.deepEqual((await output).status, { kind: "exited", code: 143 });
  process.kill("SIGKILL");
  const sleeper = "tmp/root-sleep";
  const file = join(container.directory, "rootfs", sleeper);
  copyFileSync("/usr/bin/sleep", file);
  chownSync(file, container.launcherOptions.hostIdBase, container.launcherOptions.hostIdBase);
  chmodSync(file, 0o4755);
  const asRoot = await launch([`/${sleeper}`, "100"]);
  const uid = await run(["ps", "-o", "uid=", "-p", String(asRoot.pid)]);
  assert.equal(uid.stdout.trim(), "0");
  asRoot.kill("SIGTERM");
  assert.deepEqual((await collect(asRoot)).status, { kind: "exited", code: 143 });
  const atOnce = await launch(["sleep", "100"]);
  atOnce.kill("SIGKILL");
  assert.deepEqual((await collect(atOnce)).status, { kind: "exited", code: 137 });
});

test("a spawner that the guest kills takes no command with it, and is replaced", async () => {
  const survivor = await launch(["bash", "-c", "read x; echo got $x; exit 5"], true);
  const before = await spawnerPid();
  await run(killSpawner);
  assert.equal((await run(["echo", "again"])).stdout, "again\n");
  assert.notEqual(await spawnerPid(), before);
  survivor.stdin?.end("line\n");
  const result = await collect(survivor);
  assert.deepEqual(
    [result.stdout.toString(), result.status],
    ["got line\n", { kind: "exited", code: 5 }],
  );
});

test("commands that start while the spawner dies run exactly once", async () => {
  await run(["rm", "-f", "/tmp/count"]);
  const before = await spawnerPid();
  const killing = run(["sh", "-c", `sleep 0.03; ${killSpawner.join(" ")}`]);
  const results = await Promise.all(
    Array.from({ length: 40 }, (_, i) => run(["sh", "-c", `echo ${i} >>/tmp/count; echo ${i}`])),
  );
  await killing;
  assert.notEqual(await spawnerPid(), before);
  assert.deepEqual(
    results.map(({ stdout }) => stdout),
    results.map((_, i) => `${i}\n`),
  );
  const { stdout } = await run([
    "sh",
    "-c",
    "wc -l </tmp/count; sort /tmp/count | uniq -d | wc -l",
  ]);
  assert.equal(stdout, "40\n0\n");
});

test("a command whose waiter the guest kills is lost, and never a success", async () => {
  const process = await launch(["sh", "-c", "kill -9 $PPID; sleep 100"]);
  const { status } = await collect(process);
  assert.equal(status.kind, "lost");
});

test("commands work without a shell, and with a /dev/null that cannot be opened", async () => {
  await container.runAsRoot(["rm", "-f", "/bin"]);
  await container.runAsRoot(["/.sprite/bin/busybox", "mv", "/dev/fd", "/dev/fd.gone"]);
  await container.runAsRoot(["/usr/bin/chmod", "000", "/dev/null"]).catch(() => "");
  try {
    assert.equal((await run(["/usr/bin/cat"])).stdout, "");
    assert.equal((await run(["/.sprite/bin/busybox", "echo", "here"])).stdout, "here\n");
    assert.equal((await run(["/usr/bin/cat"], { input: "x" })).stdout, "x");
    assert.equal((await run(["nothing"], { environment: [["PATH", "/gone"]] })).code, 127);
  } finally {
    await container.runAsRoot(["/.sprite/bin/busybox", "ln", "-s", "usr/bin", "/bin"]);
  }
});

test("a sprite that is out of processes says so, and recovers", async () => {
  await using small = await startTestContainer({ pidsMax: 40 });
  const launchSmall = (argv: readonly string[]) =>
    small.launcher.launch(commandOf(argv), { stdin: false });
  const bomb = await launchSmall([
    "bash",
    "-c",
    "for i in $(seq 100); do sleep 100 & done 2>/dev/null; wait",
  ]);
  bomb.stdout.resume();
  bomb.stderr.resume();
  const isRefused = () =>
    launchSmall(["true"]).then(
      (process) => {
        process.stdout.destroy();
        process.stderr.destroy();
        return false;
      },
      (error: { code?: string }) => error.code === "unavailable",
    );
  assert.ok(await waitUntil(isRefused, { timeoutMs: 10_000 }));
  bomb.kill("SIGKILL");
  assert.equal((await bomb.exited).kind, "exited");
  // The killed processes count until the kernel is done with them, a moment later.
  assert.ok(await waitUntil(async () => !(await isRefused()), { timeoutMs: 10_000 }));
  const recovered = await collect(await launchSmall(["echo", "again"]));
  assert.equal(recovered.stdout.toString(), "again\n");
});
