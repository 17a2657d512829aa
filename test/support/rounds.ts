/**
 * A load whose every state is known: round n always does the same, so whoever knows the last round that is there can tell each byte of
 * every file. A round writes and punches blocks of one big file in place and syncs it, replaces a small file by a rename and syncs the
 * directory, commits a database transaction, and only then says its number and the time.
 */
import type { Sprite } from "@fly/sprites";
import { waitUntil } from "../../src/base/wait.ts";
import { execStream } from "../../src/contract/exec-frames.ts";
import type { TestServer } from "./server.ts";
import { openExec, type ExecSocket } from "./websocket.ts";

/** Waits of a session that is looked for, or is to say something: an agent may have to be replaced first. */
const heardWithinMs = 60_000;

/** What a round does, as Python for load and check alike. */
const definitions = `
import ctypes, hashlib, os, random, sqlite3, sys, time
base = "/home/sprite/rounds"
block_size, block_count, name_count, rows_kept = 4096, 1024, 60, 400
libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]

def block_content(n, block):
    head = b"round %d block %d " % (n, block)
    return head + hashlib.sha512(head).digest() * 63 + b"." * (block_size - len(head) - 64 * 63)

def small_content(n):
    return hashlib.sha256(b"file %d" % n).digest() * (1 + n * 7919 % 700)

def row_content(n):
    return hashlib.sha256(b"row %d" % n).digest() * (1 + n * 31 % 90)

def runs_of(n):
    """(first block, count, whether it is punched) of round n, in order."""
    dice = random.Random(n)
    runs = [(dice.randrange(block_count), 1, False) for _ in range(4)]
    count = dice.choice((2, 8, 16, 40))
    runs.append((dice.randrange(block_count - count), count, n % 5 == 3))
    return runs

def connect():
    return sqlite3.connect(base + "/db", isolation_level=None, timeout=60)
`;

const loadScript = `${definitions}
os.makedirs(base, exist_ok=True)
directory = os.open(base, os.O_RDONLY)
blocks = os.open(base + "/blocks", os.O_RDWR | os.O_CREAT, 0o644)
if os.fstat(blocks).st_size < block_size * block_count:
    os.ftruncate(blocks, block_size * block_count)
db = connect()
db.execute("pragma journal_mode=wal"); db.execute("pragma synchronous=full")
db.execute("create table if not exists rounds(n integer primary key, data blob)")
n = (db.execute("select max(n) from rounds").fetchone()[0] or 0) + 1
while True:
    for first, count, punched in runs_of(n):
        if punched:
            if libc.fallocate(blocks, 3, first * block_size, count * block_size) != 0:
                sys.exit("punch: error %d" % ctypes.get_errno())
        else:
            data = b"".join(block_content(n, first + i) for i in range(count))
            if os.pwrite(blocks, data, first * block_size) != len(data): sys.exit("short write")
    os.fsync(blocks)
    with open(base + "/new", "wb") as f:
        f.write(small_content(n)); f.flush(); os.fsync(f.fileno())
    os.rename(base + "/new", base + "/f%d" % (n % name_count))
    os.fsync(directory)
    db.execute("begin immediate")
    db.execute("insert into rounds values (?, ?)", (n, row_content(n)))
    db.execute("delete from rounds where n <= ?", (n - rows_kept,))
    db.execute("commit")
    print("round", n, int(time.time() * 1000), flush=True)
    n += 1
    time.sleep(float(sys.argv[1]))
`;

/** Prints the last whole round; fails when anything is not as that round left it, or the next one, which was cut short, may have. */
const checkScript = `${definitions}
def is_begun():
    """False when the machine was lost before the first round, or what it needs, was in the bucket."""
    if not os.path.exists(base + "/db"): return False
    return connect().execute("select count(*) from sqlite_master where name = 'rounds'").fetchone()[0] == 1
if not is_begun():
    print("last", 0); sys.exit()
db = connect()
assert db.execute("pragma integrity_check").fetchall() == [("ok",)], "the database is damaged"
rows = db.execute("select n, data from rounds order by n").fetchall()
last = rows[-1][0] if rows else 0
assert [n for n, _ in rows] == list(range(max(1, last - rows_kept + 1), last + 1)), "rows are missing"
for n, data in rows:
    assert data == row_content(n), "row %d" % n
def image(rounds):
    writers = {}
    for n in rounds:
        for first, count, punched in runs_of(n):
            for block in range(first, first + count):
                writers[block] = None if punched else n
    return writers
whole = image(range(1, last + 1))
def contents(block, written):
    n = written.get(block)
    return bytes(block_size) if n is None else block_content(n, block)
# The next round may have written some of its runs.
partial = {}
for first, count, punched in runs_of(last + 1):
    for block in range(first, first + count):
        partial.setdefault(block, []).append(bytes(block_size) if punched else block_content(last + 1, block))
bad = []
if last > 0:
    with open(base + "/blocks", "rb") as f:
        for block in range(block_count):
            found = f.read(block_size)
            if found != contents(block, whole) and found not in partial.get(block, []):
                bad.append("block %d should be of round %r, is %r" % (block, whole.get(block), found[:40]))
    for n in range(max(1, last - name_count + 1), last + 1):
        with open(base + "/f%d" % (n % name_count), "rb") as f:
            found = f.read()
        is_next = n % name_count == (last + 1) % name_count and found == small_content(last + 1)
        if found != small_content(n) and not is_next:
            bad.append("file of round %d: %d bytes of something else" % (n, len(found)))
if bad:
    sys.exit("%d are wrong: %s" % (len(bad), "; ".join(bad[:5])))
print("last", last)
`;

export interface Acknowledged {
  round: number;
  /** The guest's clock, which is the machine's: ms since the epoch. */
  atMs: number;
}

/** The load in one sprite, heard through as many connections as it takes. */
export class Rounds {
  readonly #server: TestServer;
  readonly #name: string;
  readonly #said: Acknowledged[] = [];
  #socket: ExecSocket | null = null;
  #isOver = false;

  private constructor(server: TestServer, name: string) {
    this.#server = server;
    this.#name = name;
  }

  /** Starts it; the first round has been said when this returns. */
  static async start(
    server: TestServer,
    name: string,
    options: { pauseSeconds: number },
  ): Promise<Rounds> {
    const rounds = new Rounds(server, name);
    await rounds.#hear(`/v1/sprites/${name}/exec`, [
      ...["python3", "-c", loadScript, String(options.pauseSeconds)].map(
        (word) => ["cmd", word] as const,
      ),
      ["max_run_after_disconnect", "1h"],
    ]);
    await rounds.waitForMore(1);
    return rounds;
  }

  get acknowledged(): readonly Acknowledged[] {
    return this.#said;
  }

  get last(): number {
    return this.#said.at(-1)?.round ?? 0;
  }

  /** The last round that was said before the time, ms since the epoch; 0 if there is none. */
  lastBefore(timeMs: number): number {
    return this.#said.findLast(({ atMs }) => atMs < timeMs)?.round ?? 0;
  }

  /** @throws when the load ended, or says nothing */
  async waitForMore(count: number): Promise<void> {
    const wanted = this.last + count;
    await waitUntil(() => this.last >= wanted || this.#isOver, { timeoutMs: heardWithinMs });
    if (this.last >= wanted) return;
    const heard = this.#socket?.bytes().subarray(-2_000).toString() ?? "";
    throw new Error(`the load came to round ${this.last} and no further: ${heard}`);
  }

  /** Finds the running load again after its agent has died. @throws when it does not run any more */
  async reconnect(): Promise<void> {
    this.#socket?.socket.terminate();
    const path = `/v1/sprites/${this.#name}/exec`;
    const response = await this.#server.request(path);
    const { sessions } = (await response.json()) as {
      sessions: { id: string; command: string }[];
    };
    const session = sessions.find(({ command }) => command.includes("round %d block"));
    if (session === undefined) throw new Error("the load has ended with its agent");
    await this.#hear(`${path}/${session.id}`, []);
  }

  /** Whoever kills the sprite does not want to hear of it. */
  abandon(): void {
    this.#socket?.socket.terminate();
  }

  async #hear(path: string, query: ReadonlyArray<readonly [string, string]>): Promise<void> {
    const heard = await openExec(this.#server, path, query);
    this.#socket = heard;
    let rest = "";
    heard.socket.on("message", (data: Buffer, isBinary) => {
      if (!isBinary || data.length === 0) return;
      if (data[0] === execStream.exit) this.#isOver = true;
      if (data[0] !== execStream.stdout) return;
      const lines = (rest + data.toString("latin1", 1)).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) this.#note(line);
    });
  }

  #note(line: string): void {
    const match = /round (\d+) (\d+)$/.exec(line);
    if (match === null) return;
    const said = { round: Number(match[1]), atMs: Number(match[2]) };
    if (said.round > this.last) this.#said.push(said);
  }
}

/** Reads all that the rounds wrote. Returns the last whole round. @throws when anything is wrong, or that round is before `atLeast` */
export async function checkRounds(sprite: Sprite, atLeast: number): Promise<number> {
  const { stdout } = await sprite.execFile("python3", ["-c", checkScript]);
  const last = Number(/^last (\d+)$/m.exec(String(stdout))?.[1]);
  if (!(last >= atLeast)) throw new Error(`round ${last} is the last, ${atLeast} was promised`);
  return last;
}
