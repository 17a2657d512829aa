/**
 * Random operations on a file inside of a sprite, beside a model in memory, as fsx does them: writes and reads, both through a
 * mapping too, truncations, holes, zeroed ranges, renames, links, syncs, and pages dropped from memory so that reads come from the disk.
 */
import type { Sprite } from "@fly/sprites";

/**
 * Arguments: seed, seconds, and the hash of the content that a leg before this one printed, or `new`. Prints what it counted, and the hash.
 * Nothing but the last line's content is carried on, so the sprite may be moved, killed or restored between two legs.
 */
const script = `
import collections, ctypes, hashlib, mmap, os, random, sys, time
seed, seconds, expected = sys.argv[1], float(sys.argv[2]), sys.argv[3]
dice, counts, limit = random.Random(seed), collections.Counter(), 3 << 20
base = "/home/sprite/operations"
names = [base + "/a", base + "/sub/b"]
libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
os.makedirs(base + "/sub", exist_ok=True)
name = next((n for n in names if os.path.exists(n)), names[0])
if expected == "new":
    open(name, "wb").close()
model = bytearray(open(name, "rb").read())
if expected != "new" and hashlib.sha256(model).hexdigest() != expected:
    sys.exit("it is not what the last leg left: %d bytes" % len(model))
fd = os.open(name, os.O_RDWR)

def span():
    start = dice.randrange(len(model) + 1)
    return start, dice.randrange(1, 1 + min(dice.choice((64, 5000, 70000, 300000)), limit - start))

def fill(start, data):
    if len(model) < start: model.extend(bytes(start - len(model)))
    model[start:start + len(data)] = data

def content(length):
    return b"\\0" * length if dice.random() < 0.1 else dice.randbytes(length)

def same(found, start, how):
    if found != model[start:start + len(found)]:
        at = next(i for i, (x, y) in enumerate(zip(found, model[start:])) if x != y)
        sys.exit("%s: byte %d is wrong, after %r" % (how, start + at, dict(counts)))

def write():
    start, length = span()
    if dice.random() < 0.1: start = min(limit - length, len(model) + dice.randrange(200000))
    data = content(length)
    assert os.pwrite(fd, data, start) == length
    fill(start, data)

def read():
    start, length = span()
    same(os.pread(fd, length, start), start, "read")

def map_write():
    if not model: return
    start, length = span()
    length = min(length, len(model) - start)
    if length <= 0: return
    data = content(length)
    with mmap.mmap(fd, len(model)) as shown:
        shown[start:start + length] = data
        if dice.random() < 0.5: shown.flush()
    fill(start, data)

def map_read():
    if not model: return
    with mmap.mmap(fd, len(model), prot=mmap.PROT_READ) as shown:
        start, length = span()
        same(shown[start:start + length], start, "mapping")

def truncate():
    size = dice.randrange(limit) if dice.random() < 0.3 else dice.randrange(len(model) + 1)
    os.ftruncate(fd, size)
    if size < len(model): del model[size:]
    else: model.extend(bytes(size - len(model)))

def allocate(mode, grows, clears):
    start, length = span()
    if libc.fallocate(fd, mode, start, length) != 0:
        sys.exit("fallocate %d: %s" % (mode, os.strerror(ctypes.get_errno())))
    if grows and start + length > len(model): model.extend(bytes(start + length - len(model)))
    if clears:
        end = min(start + length, len(model))
        if end > start: model[start:end] = bytes(end - start)

def rename():
    global name
    other = names[1 - names.index(name)]
    if dice.random() < 0.3:
        os.link(name, other); os.unlink(name)
    else: os.rename(name, other)
    name = other

def reopen():
    global fd
    os.close(fd)
    fd = os.open(name, os.O_RDWR)
    assert os.fstat(fd).st_size == len(model), "size"

def drop():
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    same(os.pread(fd, limit, 0), 0, "read from the disk")

kinds = {write: 30, read: 20, map_write: 8, map_read: 8, truncate: 5, rename: 3, reopen: 3, drop: 4,
    lambda: os.fsync(fd): 4, lambda: allocate(3, False, True): 6,
    lambda: allocate(16, True, True): 4, lambda: allocate(17, False, True): 3,
    lambda: allocate(0, True, False): 3, lambda: allocate(1, False, False): 2}
labels = "write read map_write map_read truncate rename reopen drop fsync".split()
labels += "punch zero zero_keep allocate allocate_keep".split()
choices, weights = list(zip(kinds, labels)), list(kinds.values())
end = time.monotonic() + seconds
while time.monotonic() < end:
    (operation, label), = dice.choices(choices, weights)
    counts[label] += 1
    operation()
drop()
os.fsync(fd)
for directory in (base, base + "/sub"):
    handle = os.open(directory, os.O_RDONLY); os.fsync(handle); os.close(handle)
print("operations", sum(counts.values()))
print("hash", hashlib.sha256(model).hexdigest())
`;

/** One leg of operations. Returns how many it did and the content's hash, for the next. @throws at the first byte that is wrong */
export async function operateOnFile(
  sprite: Sprite,
  options: { seed: number; seconds: number; hash: string | null },
): Promise<{ operations: number; hash: string }> {
  const { seed, seconds, hash } = options;
  const words = ["-c", script, String(seed), String(seconds), hash ?? "new"];
  const output = String((await sprite.execFile("python3", words)).stdout);
  const found = /^operations (\d+)\nhash (\w+)$/m.exec(output);
  if (found?.[1] === undefined || found[2] === undefined) throw new Error(output);
  return { operations: Number(found[1]), hash: found[2] };
}
