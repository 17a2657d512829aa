/** `make demo`: three disasters, three restores, with times. Runs a server of its own on a temporary data directory. */
import type { Sprite } from "@fly/sprites";
import { TestServer } from "./support/server.ts";
import { checkpointId, drainStream } from "./support/streams.ts";

interface Disaster {
  title: string;
  /** What a careless hand types. */
  command: string;
  /** Fails after the disaster, succeeds before it and after the restore. */
  proof: string;
}

const disasters: Disaster[] = [
  {
    title: "sudo rm -rf /usr /etc",
    command: "sudo rm -rf /usr /etc 2>/dev/null; true",
    proof: "python3 -c 'print(6 * 7)' && test -e /etc/passwd",
  },
  {
    title: "dd if=/dev/urandom over its own files",
    command:
      'for f in ~/project/*; do dd if=/dev/urandom of="$f" bs=64k count=8 conv=notrunc status=none; done; sync',
    proof: "cd ~/project && sha256sum --quiet --check SUMS",
  },
  {
    title: "a broken global pip install",
    command:
      "sudo pip install --quiet --no-index --root-user-action ignore ~/wheels/greeter-2.0-*.whl",
    proof: "python3 -c 'import greeter; greeter.greet()'",
  },
];

const prepare = `
mkdir -p ~/project && cd ~/project
for n in $(seq 20); do head -c 500000 /dev/urandom > file-$n; done
sha256sum file-* > SUMS && sync
python3 - <<'END'
import os, zipfile
os.makedirs("/home/sprite/wheels", exist_ok=True)
for version, code in ("1.0", "def greet(): print('hello')"), ("2.0", "import no_such_dependency"):
    info = f"greeter-{version}.dist-info"
    with zipfile.ZipFile(f"/home/sprite/wheels/greeter-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr("greeter.py", code)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\\nName: greeter\\nVersion: {version}\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nGenerator: hand\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
END
sudo pip install --quiet --no-index --root-user-action ignore ~/wheels/greeter-1.0-*.whl
`;

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

async function timed<T>(what: string, work: () => Promise<T>): Promise<T> {
  const start = performance.now();
  const result = await work();
  say(`  ${what.padEnd(44)} ${(performance.now() - start).toFixed(0).padStart(6)} ms`);
  return result;
}

async function works(sprite: Sprite, proof: string): Promise<boolean> {
  const run = sprite.execFile("sh", ["-c", proof]);
  return await run.then(
    () => true,
    () => false,
  );
}

async function survive(sprite: Sprite, disaster: Disaster): Promise<void> {
  say(`\n${disaster.title}`);
  if (!(await works(sprite, disaster.proof))) throw new Error("it does not work to begin with");
  const id = await timed("checkpoint", async () =>
    checkpointId(await drainStream(await sprite.createCheckpoint(disaster.title))),
  );
  await timed("the disaster", () => sprite.execFile("sh", ["-c", disaster.command]));
  if (await works(sprite, disaster.proof)) throw new Error("nothing broke");
  say("  now it is broken");
  await timed(`restore ${id}`, async () => drainStream(await sprite.restoreCheckpoint(id)));
  const again = await timed("first command after it", () => works(sprite, disaster.proof));
  if (!again) throw new Error("the restore did not bring it back");
  say("  and it works again");
}

const server = await TestServer.start({ image: "dev" });
try {
  say(`server at ${server.url}`);
  const sprite = await timed("create", () => server.client().createSprite("demo"));
  await timed("first command", () => sprite.execFile("echo", ["hello"]));
  await sprite.execFile("sh", ["-c", prepare]);
  for (const disaster of disasters) await survive(sprite, disaster);
  await timed("destroy", () => sprite.destroy());
} finally {
  await server.close();
}
