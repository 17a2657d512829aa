/** Random stories of sprites: whatever happens to them, states, processes, mounts, leases and the bucket agree in the end. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mock, test } from "node:test";
import { pathToFileURL } from "node:url";
import fc from "fast-check";
import { SpriteLife } from "./sprite-life.ts";
import { spriteIds, Story, type Act } from "./testing/story.ts";

const runs = 1_500;
/** In so many a deliberate bug must show. */
const mutantRuns = 3_000;

const sprite = fc.constantFrom(...spriteIds);
const act: fc.Arbitrary<Act> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant("request" as const), sprite }) },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constantFrom("restore", "doze", "doze", "retire", "retire", "sleep", "stop"),
      sprite,
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("destroy" as const), sprite }) },
  {
    weight: 2,
    arbitrary: fc.record({
      ...{ do: fc.constant("crash_agent" as const), sprite, isReplaced: fc.boolean() },
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constantFrom("crash_worker", "fail_next_start", "bucket_away", "bucket_back"),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.nat(120_000) }) },
  { weight: 20, arbitrary: fc.record({ do: fc.constant("go" as const), which: fc.nat(5) }) },
);

interface Bug {
  Life?: typeof SpriteLife;
  forgets?: "slot" | "mount" | "lease";
}

async function tell(acts: readonly Act[], { Life = SpriteLife, forgets }: Bug): Promise<void> {
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    const story = new Story(Life, (ms) => mock.timers.tick(ms));
    story.machine.forgets = forgets ?? null;
    await story.run(acts);
  } finally {
    mock.timers.reset();
  }
}

/** What a story found, and the story; null: nothing, in any of them. */
async function find(bug: Bug, numRuns: number): Promise<string | null> {
  const stories = fc.asyncProperty(fc.array(act, { maxLength: 60, size: "max" }), (acts) =>
    tell(acts, bug),
  );
  const found = await fc.check(stories, { numRuns, endOnFailure: bug !== none });
  if (!found.failed) return null;
  return `${String(found.errorInstance)}\n${JSON.stringify(found.counterexample)}`;
}

const none: Bug = {};

test("after any story, states, processes, mounts, leases and the bucket agree", async () => {
  assert.equal(await find(none, runs), null);
});

/** Each is a mistake that somebody could make: the file, what stands there, and what would stand there instead. */
const mistakes: readonly [string, string, string][] = [
  ["sprite-life.ts", "await this.whenDecided();\n      const { phase }", "const { phase }"],
  ["sprite-life.ts", "if (!run.isStopAsked) throw error;", "throw error;"],
  ["sprite-life.ts", "this.#decision?.resolve();", ""],
  ["sprite-life.ts", "run.isStopAsked = true;", ""],
  ["sprite-life.ts", 'if (this.#run !== run || this.#state.phase !== "asking")', "if (false)"],
  ["sprite-life.ts", "if (status !== statusOf(before)) this", "this"],
  ["sprite-life.ts", 'this.#apply("ended", ', 'if (run.isStopAsked) this.#apply("ended", '],
  ["life-state.ts", 'ended: "destroyed" },', 'ended: "cold" },'],
  ["life-state.ts", 'granted: "stopping"', 'granted: "serving"'],
  ["life-state.ts", 'return { phase, rest: "unknown" };', "return { phase, rest: state.rest };"],
];

async function withMistake(
  [file, right, wrong]: (typeof mistakes)[number],
  use: (Life: typeof SpriteLife) => Promise<void>,
): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "mistake-"));
  try {
    for (const name of ["sprite-life.ts", "life-state.ts"]) {
      const text = await readFile(join(import.meta.dirname, name), "utf8");
      const isIn = name === file;
      assert.ok(!isIn || text.split(right).length === 2, `${name} has once: ${right}`);
      const changed = isIn ? text.replace(right, () => wrong) : text;
      const root = pathToFileURL(join(import.meta.dirname, "../..")).href;
      const here = pathToFileURL(import.meta.dirname).href;
      const moved = changed
        .replaceAll('"../../', `"${root}/`)
        .replaceAll('"../', `"${root}/worker/`)
        .replaceAll('"./limits.ts"', `"${here}/limits.ts"`);
      await writeFile(join(directory, name), moved);
    }
    const module = (await import(pathToFileURL(join(directory, "sprite-life.ts")).href)) as {
      SpriteLife: typeof SpriteLife;
    };
    await use(module.SpriteLife);
  } finally {
    await rm(directory, { recursive: true });
  }
}

for (const mistake of mistakes) {
  test(`the stories find the mistake: ${mistake[1]} -> ${mistake[2]}`, async () => {
    await withMistake(mistake, async (Life) => {
      assert.ok((await find({ Life }, mutantRuns)) !== null, "it goes unnoticed");
    });
  });
}

for (const forgets of ["slot", "mount", "lease"] as const) {
  test(`the stories find a ${forgets} that is left behind`, async () => {
    assert.ok((await find({ forgets }, mutantRuns)) !== null, "it goes unnoticed");
  });
}
