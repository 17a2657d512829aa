import type { CommandSpec } from "../command-spec.ts";

export const checkpointCommands: readonly CommandSpec[] = [
  {
    usage: "checkpoint",
    aliases: ["checkpoints"],
    description: "save the disk's state, and look at what was saved",
    children: [
      {
        usage: "create",
        description: "save the disk as it is now",
        options: [["--comment <text>", "what this state is"]],
        details: [
          "Running commands go on; their memory is not saved. It succeeds only when",
          "the bucket has it.",
        ].join("\n"),
        examples: [['sprite checkpoint create --comment "before the upgrade"', "then try things"]],
        load: async () => (await import("../commands/checkpoints.ts")).create,
      },
      {
        usage: "list",
        aliases: ["ls"],
        description: "list checkpoints, newest first",
        options: [
          ["--history <id>", "only this checkpoint and its ancestors"],
          ["--include-auto", "also those made automatically before a restore"],
        ],
        examples: [["sprite checkpoint list --include-auto", "all there are"]],
        load: async () => (await import("../commands/checkpoints.ts")).list,
      },
      {
        usage: "info <id>",
        description: "show one checkpoint; `Current` is the live state",
        details: "Unique is what deleting it would free.",
        examples: [["sprite checkpoint info v3", "when, why, how large"]],
        load: async () => (await import("../commands/checkpoints.ts")).info,
      },
      {
        usage: "diff <id> [to]",
        description: "list the paths in which two states differ",
        details: [
          "Without a second id, against the live disk. Nothing is restored for it. `+` is",
          "a path that was added since, `~` one that changed, `-` one that was removed.",
          "--json prints one object a line; the last one has the counts.",
        ].join("\n"),
        examples: [
          ["sprite checkpoint diff v3", "what has been done since"],
          ["sprite checkpoint diff v3 v4", "between the two"],
        ],
        load: async () => (await import("../commands/checkpoint-diff.ts")).diff,
      },
      {
        usage: "delete <id>",
        aliases: ["rm"],
        description: "delete a checkpoint",
        details: "What no other checkpoint and not the live disk needs is freed.",
        examples: [["sprite checkpoint delete v3", "v4 and the disk stay as they are"]],
        load: async () => (await import("../commands/checkpoints.ts")).remove,
      },
    ],
  },
  {
    usage: "restore [id]",
    description: "go back to a checkpoint; running commands end",
    options: [
      ["--undo", "go back to the state before the last restore"],
      ["--force", "do not look first whether the checkpoint would start"],
    ],
    details: [
      "The state before it is kept as an automatic checkpoint. `--undo` works within",
      "a day, and is a restore itself: saying it again undoes the undo.",
    ].join("\n"),
    examples: [
      ["sprite restore v3", "the disk as v3 has it"],
      ["sprite restore --undo", "that was a mistake"],
    ],
    load: async () => (await import("../commands/restore.ts")).restore,
  },
  {
    usage: "repair [name]",
    description: "repair a damaged disk; what cannot be saved is lost",
    details: "The state before the repair is kept as an automatic checkpoint.",
    examples: [["sprite repair box", "when an error says that its disk does not mount"]],
    load: async () => (await import("../commands/restore.ts")).repair,
  },
];
