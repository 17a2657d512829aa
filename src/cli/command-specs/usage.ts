import type { CommandSpec } from "../command-spec.ts";

export const usageCommands: readonly CommandSpec[] = [
  {
    usage: "usage [name]",
    description: "show what sprites have used: time, processor, memory, disk",
    options: [
      ["--by <what>", "`sprite` (the default), `label`, `day` or `hour`"],
      ["--since <time>", "a date, a time, or how long ago: 7d, 12h (default: this month)"],
      ["--until <time>", "the same (default: now)"],
      ["--label <label>", "only sprites that had it; repeatable: all of them", "repeatable"],
      ["--csv", "for a spreadsheet"],
    ],
    details: [
      "Sprites that are gone are still in it, and labels are as they were at the time.",
      "A sprite with two labels is in two rows of --by label. It is kept for 400 days,",
      "by the hour for 35. Times are UTC. A sprite that sleeps uses storage only.",
    ].join("\n"),
    examples: [
      ["sprite usage --since 7d", "by sprite, in the last week"],
      ["sprite usage --by day --label ci", "one project, day by day"],
      ["sprite usage --by label --csv > usage.csv", "for an invoice"],
    ],
    load: async () => (await import("../commands/usage.ts")).usage,
  },
];
