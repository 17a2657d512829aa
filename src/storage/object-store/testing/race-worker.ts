import { must } from "../../../base/assert.ts";
import { DirectoryObjectStore } from "../directory-object-store.ts";
import { lockDirectory } from "../directory-lock.ts";

/**
 * A process of its own for directory-object-store-race.fs.test.ts: `race-worker.ts <mode>
 * <directory> <count>`.
 */

const [mode, directory = "", count = "0"] = process.argv.slice(2);
const say = (line: string): boolean => process.stdout.write(`${line}\n`);

interface Counter {
  value: number;
  /** Makes the content unique, so that equal values of two writers differ in their tags. */
  writer: string;
}

/** Adds one to the counter by compare-and-swap, as often as asked; says each value that it stored. */
async function increment(times: number): Promise<void> {
  const store = await DirectoryObjectStore.open(directory);
  for (let done = 0; done < times;) {
    const seen = await store.getWithEtag("race/counter");
    const old = seen === null ? 0 : parse(seen.bytes).value;
    const next: Counter = { value: old + 1, writer: `${process.pid}-${done}` };
    const expected = { etag: seen?.etag ?? null };
    const result = await store.swap("race/counter", Buffer.from(JSON.stringify(next)), expected);
    if (result === null) continue;
    done++;
    say(String(next.value));
  }
}

function parse(bytes: Uint8Array): Counter {
  return JSON.parse(Buffer.from(bytes).toString()) as Counter;
}

async function create(slots: number): Promise<void> {
  const store = await DirectoryObjectStore.open(directory);
  for (let slot = 0; slot < slots; slot++) {
    const isOurs = await store.putIfAbsent(`race/slot-${slot}`, Buffer.from(String(process.pid)));
    if (isOurs) say(String(slot));
  }
}

/** Holds the lock until killed. */
async function hold(): Promise<void> {
  const store = await DirectoryObjectStore.open(directory);
  await store.put("race/held", Buffer.from("x"));
  must(await lockDirectory(`${directory}/race`), "directory is there");
  say("held");
  setInterval(() => {}, 1_000);
}

if (mode === "increment") await increment(Number(count));
else if (mode === "create") await create(Number(count));
else await hold();
