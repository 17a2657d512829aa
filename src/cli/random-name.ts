import { randomInt } from "node:crypto";

const adjectives =
  "amber bold brisk calm clear crisp deft eager fleet gentle keen lively lucid mellow nimble quiet rapid sunny swift vivid".split(
    " ",
  );
const nouns =
  "alder birch brook cedar cloud comet coral dune ember fern finch grove heron iris lake maple meadow otter river wren".split(
    " ",
  );

/** A name to say aloud, with digits that make a second one like it unlikely: one in 3.6 million. */
export function randomName(): string {
  const digits = String(randomInt(0, 9_000) + 1_000);
  return `${pick(adjectives)}-${pick(nouns)}-${digits}`;
}

function pick(words: readonly string[]): string {
  return words[randomInt(0, words.length)] ?? "sprite";
}
