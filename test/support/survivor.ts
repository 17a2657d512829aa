/**
 * What a guest does while its agents die: fsynced files, database transactions and output, until it is told to stop. It writes down
 * every error that it sees, and how long it was made to wait at most.
 */

/** Prints `tick N` for each round. Exits 7 when a file named `stop` appears, so that the code is nobody's default. */
export const survivorScript = `
import hashlib, json, os, sqlite3, sys, time
base = "/home/sprite/survivor"
os.makedirs(base, exist_ok=True)
db = sqlite3.connect(base + "/db", isolation_level=None, timeout=60)
db.execute("pragma journal_mode=wal"); db.execute("pragma synchronous=full")
db.execute("create table if not exists rounds(n integer primary key, digest text)")
errors, longest, n = [], 0, 0
while not os.path.exists(base + "/stop"):
    start = time.monotonic()
    try:
        data = hashlib.sha256(str(n).encode()).digest() * (1 + n % 900)
        with open(f"{base}/f{n}", "wb") as f:
            f.write(data); f.flush(); os.fsync(f.fileno())
        db.execute("insert into rounds values (?, ?)", (n, hashlib.sha256(data).hexdigest()))
        with open(f"{base}/f{n // 2}", "rb") as f:
            old = n // 2
            if f.read() != hashlib.sha256(str(old).encode()).digest() * (1 + old % 900):
                errors.append(f"file {old} is wrong")
    except Exception as error:
        errors.append(f"round {n}: {error!r}")
    longest = max(longest, time.monotonic() - start)
    print("tick", n, flush=True)
    n += 1
with open(base + "/report", "w") as f:
    json.dump({"rounds": n, "errors": errors[:5], "errorCount": len(errors), "longestMs": longest * 1000}, f)
    f.flush(); os.fsync(f.fileno())
sys.exit(7)
`;

/** Prints how many rounds are whole; fails when one is not. */
export const survivorCheck = `
import hashlib, sqlite3, sys
base = "/home/sprite/survivor"
db = sqlite3.connect(base + "/db")
assert db.execute("pragma integrity_check").fetchall() == [("ok",)]
rows = db.execute("select n, digest from rounds order by n").fetchall()
assert [n for n, _ in rows] == list(range(len(rows)))
for n, digest in rows:
    data = open(f"{base}/f{n}", "rb").read()
    assert data == hashlib.sha256(str(n).encode()).digest() * (1 + n % 900), n
    assert hashlib.sha256(data).hexdigest() == digest, n
print(len(rows))
`;

export interface SurvivorReport {
  rounds: number;
  errors: string[];
  errorCount: number;
  longestMs: number;
}
