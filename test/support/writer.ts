import type { Sprite } from "@fly/sprites";

/** Writes numbered files, each fsynced with its directory, and says the number only then. */
const script = `
import os, sys, hashlib
os.makedirs("/home/sprite/load", exist_ok=True)
directory = os.open("/home/sprite/load", os.O_RDONLY)
for n in range(1000000):
    data = hashlib.sha256(str(n).encode()).digest() * (1 + n % 900)
    with open(f"/home/sprite/load/{n}", "wb") as f:
        f.write(data); f.flush(); os.fsync(f.fileno())
    os.fsync(directory)
    print(n, flush=True)
`;

const checker = `
import hashlib, sys
bad = []
for n in range(int(sys.argv[1]) + 1):
    try:
        data = open(f"/home/sprite/load/{n}", "rb").read()
    except OSError as error:
        bad.append(f"{n}: {error}"); continue
    if data != hashlib.sha256(str(n).encode()).digest() * (1 + n % 900):
        bad.append(f"{n}: wrong content, {len(data)} bytes")
print(bad[:5], len(bad))
sys.exit(1 if bad else 0)
`;

export interface WriteLoad {
  /** The highest number whose file was fsynced, with when that was said (ms, performance.now). */
  acknowledged(): { number: number; atMs: number }[];
}

/** Starts the load; it ends with its sprite. */
export function startWriteLoad(sprite: Sprite): WriteLoad {
  const said: { number: number; atMs: number }[] = [];
  const command = sprite.spawn("python3", ["-c", script]);
  let rest = "";
  command.stdout.on("data", (bytes: Buffer) => {
    rest += bytes.toString();
    const lines = rest.split("\n");
    rest = lines.pop() ?? "";
    const atMs = performance.now();
    for (const line of lines) said.push({ number: Number(line), atMs });
  });
  // The connection breaks when the server is killed, which is the point.
  command.on("error", () => undefined);
  command.wait().catch(() => undefined);
  return { acknowledged: () => said };
}

/** Reads every file up to `highest` inside the sprite. @throws when one is missing or wrong */
export async function checkWriteLoad(sprite: Sprite, highest: number): Promise<void> {
  await sprite.execFile("python3", ["-c", checker, String(highest)]);
}
