/** The disk rows: what runs, in a sprite and on the host alike, and how its figure is read. */
import type { Place } from "./place.ts";
import type { Plan } from "./plan.ts";
import type { Unit } from "./statistics.ts";

export interface Workload {
  /** Without the `disk.` in front. */
  name: string;
  unit: Unit;
  /** One measurement; the time to reach the place is not in it. */
  measure: (place: Place) => Promise<number>;
  /** Makes what the measurement destroys or needs, before each one. Not timed. */
  prepare?: (place: Place) => Promise<void>;
  /** Works on trees of files, for as long as that takes. */
  isTree?: boolean;
  /** Data on the disk that must not be answered from memory: the place's cache is dropped before each measurement. */
  cold?: boolean;
  note?: string;
}

const pageCacheNote =
  "a guest's direct read ends in the host's page cache, the host's own on its disk; " +
  "the cold row drops that cache";

interface FioJob {
  pattern: "randread" | "randwrite" | "read" | "write";
  blockSize: "4k" | "1m";
  depth: number;
  isDirect?: boolean;
  syncEachWrite?: boolean;
}

export interface FioSize {
  seconds: number;
  fileMegabytes: number;
}

export function fioWorkloads(size: FioSize): Workload[] {
  const rate = (job: FioJob) => async (place: Place) => await fioRate(place, job, size);
  return [
    {
      name: "seq_write_1m",
      unit: "MB/s",
      measure: rate({ pattern: "write", blockSize: "1m", depth: 4 }),
    },
    {
      ...{ name: "seq_read_1m", unit: "MB/s", note: pageCacheNote },
      measure: rate({ pattern: "read", blockSize: "1m", depth: 4 }),
    },
    {
      ...{ name: "rand_read_4k_qd1", unit: "1/s", note: pageCacheNote },
      measure: rate({ pattern: "randread", blockSize: "4k", depth: 1 }),
    },
    {
      ...{ name: "rand_read_4k_qd32", unit: "1/s", note: pageCacheNote },
      measure: rate({ pattern: "randread", blockSize: "4k", depth: 32 }),
    },
    {
      name: "rand_write_4k_qd1",
      unit: "1/s",
      measure: rate({ pattern: "randwrite", blockSize: "4k", depth: 1 }),
    },
    {
      name: "rand_write_4k_qd32",
      unit: "1/s",
      measure: rate({ pattern: "randwrite", blockSize: "4k", depth: 32 }),
    },
  ];
}

/** What everything that makes a disk or a directory of a bucket can do. */
export function peerWorkloads(size: FioSize): Workload[] {
  const [oneRow] = sqliteWorkloads(size.seconds);
  return [...fioWorkloads(size), smallFilesWorkload, ...(oneRow === undefined ? [] : [oneRow])];
}

/** Rows that only the host's own disk is compared in. */
export function hostWorkloads(plan: Plan): Workload[] {
  const size = { seconds: plan.fioSeconds, fileMegabytes: plan.fioFileMegabytes };
  const fsynced = { depth: 1, isDirect: false, syncEachWrite: true } as const;
  return [
    {
      ...{ name: "rand_read_4k_qd32_cold", unit: "1/s", cold: true },
      measure: (place) => fioRate(place, { pattern: "randread", blockSize: "4k", depth: 32 }, size),
    },
    {
      name: "rand_write_4k_fsync",
      unit: "1/s",
      measure: (place) =>
        fioRate(place, { ...fsynced, pattern: "randwrite", blockSize: "4k" }, size),
    },
    { name: "fsync_4k", unit: "1/s", measure: (place) => fsyncRate(place, size) },
    {
      name: "seq_write_synced",
      unit: "MB/s",
      prepare: async (place) => void (await place.run("rm -f stream")),
      measure: async (place) =>
        (512 / ((await timedMs(place, streamScript)) * 1e-3)) * ((1024 * 1024) / 1e6),
      note: "512 MB through the page cache into a new file, with the fsync at its end",
    },
    ...sqliteWorkloads(plan.fioSeconds),
    ...treeWorkloads,
    removeWorkload,
  ];
}

// Random bytes, since a disk may be clever about zeros.
const streamScript = "for n in $(seq 32); do cat fio/seed; done > stream && sync stream";

/**
 * Each run makes new directories and nothing is removed before it: ext4 does not reuse a number of a file for some seconds after
 * its removal, and looks for another one slowly when there were many.
 */
const treeWorkloads: readonly Workload[] = [
  {
    ...{ name: "untar", unit: "ms", isTree: true },
    measure: (place) =>
      timedMs(
        place,
        "tar -xf source.tar -C $new && sync --file-system $new",
        "new=$(mktemp -dp .)",
      ),
    note: "the Go compiler's source, 13,000 entries of 123 MB, with the final sync",
  },
  {
    ...{ name: "copy_tree", unit: "ms", isTree: true },
    measure: (place) =>
      timedMs(place, "cp -a source $new && sync --file-system $new", "new=$(mktemp -dp .)"),
  },
  {
    ...{ name: "npm_ci", unit: "ms", isTree: true },
    measure: (place) =>
      timedMs(place, npmScript, "new=$(mktemp -dp .) && cp project/*.json $new && cd $new"),
    note: "225 packages (express, webpack, eslint) from a filled cache, without network",
  },
];

const removeWorkload: Workload = {
  ...{ name: "remove_tree", unit: "ms", isTree: true },
  prepare: async (place) => void (await place.run("cp -a source removed && sync -f removed")),
  measure: (place) => timedMs(place, "rm -rf removed && sync --file-system source"),
};

const smallFilesWorkload: Workload = {
  ...{ name: "small_files", unit: "ms" },
  measure: async (place) =>
    await pythonNumber(
      place,
      `
import ctypes, os, tempfile, time
directory, block = tempfile.mkdtemp(dir="."), os.urandom(4096)
start = time.perf_counter()
for n in range(500):
    with open(f"{directory}/{n}", "wb") as f: f.write(block)
for n in range(500):
    with open(f"{directory}/{n}", "rb") as f: f.read()
f = os.open(directory, os.O_RDONLY)
ctypes.CDLL(None).syncfs(f)
print((time.perf_counter() - start) * 1000)
`,
    ),
};

const npmScript =
  "npm ci --offline --ignore-scripts --no-audit --no-fund --cache ~/npm-cache && sync --file-system .";

function sqliteWorkloads(seconds: number): Workload[] {
  const prepare = async (place: Place): Promise<void> =>
    void (await place.run("rm -f bench.db bench.db-journal"));
  return [
    {
      ...{ name: "sqlite_insert", unit: "1/s", prepare },
      measure: (place) => sqliteRate(place, { seconds, rowsEachTransaction: 1 }),
      note: "rollback journal, synchronous=FULL, one row a transaction",
    },
    {
      ...{ name: "sqlite_insert_batched", unit: "1/s", prepare },
      measure: (place) => sqliteRate(place, { seconds, rowsEachTransaction: 1000 }),
      note: "rows in transactions of 1,000",
    },
  ];
}

/** The file that every fio row uses: whole, so that no row meets holes. */
export async function layOutFile(place: Place, fileMegabytes: number): Promise<void> {
  await place.run(
    `mkdir -p fio && head -c 16M /dev/urandom > fio/seed && rm -f fio/data && ` +
      `for n in $(seq ${fileMegabytes / 16}); do cat fio/seed; done > fio/data && sync fio/data`,
  );
}

async function fioRate(place: Place, job: FioJob, size: FioSize): Promise<number> {
  const { pattern, blockSize, depth, isDirect = true, syncEachWrite = false } = job;
  const text = await place.run(
    [
      "fio --name=row --filename=fio/data --output-format=json --randrepeat=0 --norandommap",
      `--rw=${pattern} --bs=${blockSize} --iodepth=${depth} --direct=${isDirect ? 1 : 0}`,
      `--ioengine=${isDirect ? "libaio" : "psync"} --fsync=${syncEachWrite ? 1 : 0}`,
      `--size=${size.fileMegabytes}m --time_based --runtime=${size.seconds} --invalidate=0`,
    ].join(" "),
  );
  interface Side {
    iops: number;
    bw_bytes: number;
  }
  // fio may print a warning before its document.
  const document = JSON.parse(text.slice(text.indexOf("{"))) as {
    jobs: Array<{ read: Side; write: Side }>;
  };
  const side = document.jobs[0]?.[pattern.endsWith("read") ? "read" : "write"];
  if (side === undefined) throw new Error("fio reported no job");
  return blockSize === "4k" ? side.iops : side.bw_bytes / 1e6;
}

/** Each writer appends 4 KiB to a file of its own and calls fsync, over and over: what a log does. The fsyncs of all in a second. */
export async function fsyncRate(
  place: Place,
  { seconds, writers = 1 }: { seconds: number; writers?: number },
): Promise<number> {
  return await pythonNumber(
    place,
    `
import os, threading, time
block, counts = os.urandom(4096), [0] * ${writers}
start = time.perf_counter()
def work(n):
    f = os.open(f"log-{n}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    while time.perf_counter() - start < ${seconds}:
        os.write(f, block); os.fsync(f); counts[n] += 1
threads = [threading.Thread(target=work, args=(n,)) for n in range(1, ${writers})]
for thread in threads: thread.start()
work(0)
for thread in threads: thread.join()
print(sum(counts) / (time.perf_counter() - start))
`,
  );
}

async function sqliteRate(
  place: Place,
  options: { seconds: number; rowsEachTransaction: number },
): Promise<number> {
  return await pythonNumber(
    place,
    `
import sqlite3, time
db = sqlite3.connect("bench.db", isolation_level=None)
db.execute("PRAGMA synchronous=FULL")
db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT)")
count, start = 0, time.perf_counter()
while time.perf_counter() - start < ${options.seconds}:
    db.execute("BEGIN")
    db.executemany("INSERT INTO t (text) VALUES (?)", [("x" * 100,)] * ${options.rowsEachTransaction})
    db.execute("COMMIT")
    count += ${options.rowsEachTransaction}
print(count / (time.perf_counter() - start))
`,
  );
}

async function pythonNumber(place: Place, script: string): Promise<number> {
  return toNumber(await place.run(`python3 - <<'SCRIPT'\n${script}\nSCRIPT`));
}

/** Runs a command and takes its time where it runs, without that of what goes before it. */
export async function timedMs(place: Place, command: string, before = "true"): Promise<number> {
  return toNumber(
    await place.run(
      `${before}; start=$EPOCHREALTIME; (${command}) >&2; end=$EPOCHREALTIME; ` +
        `echo $(( (\${end/./} - \${start/./}) / 10 ))e-2`,
    ),
  );
}

function toNumber(text: string): number {
  const value = Number(text.trim());
  if (text.trim() === "" || !Number.isFinite(value)) {
    throw new Error(`expected one number: ${text.slice(0, 200)}`);
  }
  return value;
}
