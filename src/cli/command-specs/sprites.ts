import type { CommandSpec } from "../command-spec.ts";

const authOption = ["--auth <mode>", "`sprite` (token holders) or `public` (everybody)"] as const;

export const spriteCommands: readonly CommandSpec[] = [
  {
    usage: "create [name]",
    description: "make a sprite; at a terminal, open a console in it",
    options: [
      ["--skip-console", "do not open a console"],
      ["--label <label>", "label; repeatable", "repeatable"],
      ["--idle-window <time>", "suspend it when idle for so long: 5m, off, default"],
      ["--from <sprite[@id]>", "begin with that sprite's disk, or with a checkpoint of it"],
    ],
    details: [
      "Without a name, one is made up. A name is 1 to 63 lower-case letters, digits",
      "and hyphens.",
      "",
      "A fork (--from) takes the same moment whatever the disk holds; neither of the",
      "two notices the other afterwards.",
    ].join("\n"),
    examples: [
      ["sprite create box --label ci", "a new one"],
      ["sprite create copy --from box@v3 --skip-console", "a fork of a checkpoint"],
    ],
    load: async () => (await import("../commands/sprites.ts")).create,
  },
  {
    usage: "list",
    aliases: ["ls"],
    description: "list sprites",
    options: [
      ["--prefix <text>", "only names that begin so"],
      ["-w, --watch", "stay, and show every change"],
    ],
    details: [
      "--watch shows a table that follows at a terminal, with what each sprite does, a",
      "line for each change in a pipe, and with --json one object a line (NDJSON).",
      "Ctrl+C ends it. In a narrow terminal the table has fewer columns.",
    ].join("\n"),
    examples: [
      ["sprite list --prefix ci-", "some of them"],
      ["sprite list --watch --json | jq -r .name", "for a program"],
    ],
    load: async () => (await import("../commands/sprites.ts")).list,
  },
  {
    usage: "use [name]",
    description: "choose the sprite for this directory (writes .sprite)",
    options: [["--unset", "forget the choice"]],
    details: "Without a name it shows the choice. Parent directories are not searched.",
    examples: [["sprite use box", "commands here now mean box"]],
    load: async () => (await import("../commands/use.ts")).use,
  },
  {
    usage: "schedule [name]",
    description: "say when a sprite is woken by itself, or change it",
    options: [
      ["--cron <expression>", "minute hour day month weekday, in UTC"],
      ["--at <time>", "once: 2027-01-31T06:00:00Z"],
      ["--clear", "not by itself any more"],
    ],
    details: "Its services run then. A time that the server missed is made up for once.",
    examples: [
      ["sprite schedule box --cron '0 6 * * 1-5'", "every weekday at six"],
      ["sprite schedule box --clear", "no more"],
    ],
    load: async () => (await import("../commands/schedule.ts")).schedule,
  },
  {
    usage: "why [name]",
    description: "say what keeps a sprite awake, or why it slept and woke",
    details: "A sleeping sprite is not woken for it.",
    examples: [["sprite why box", "awake because of a command, since when"]],
    load: async () => (await import("../commands/rest.ts")).why,
  },
  {
    usage: "sleep [name]",
    description: "put a sprite to sleep: processes end, the disk is stored",
    options: [
      ["--force", "also when a command runs or a task holds it"],
      ["--all", "every sprite of the organization that is not cold yet"],
      ["--prefix <text>", "with --all: only names that begin so"],
    ],
    details: [
      "Requests under way end first. While a command runs or a task holds it, it is",
      "left awake; --force ends them. Whatever is asked of it next wakes it.",
    ].join("\n"),
    examples: [
      ["sprite sleep box", "nothing of it runs any more"],
      ["sprite sleep --all", "nothing of any runs any more"],
    ],
    load: async () => (await import("../commands/rest.ts")).sleep,
  },
  {
    usage: "info [name]",
    description: "show a sprite: state and why, address, disk",
    details: "Also checkpoints and services. A sleeping sprite is not woken for it.",
    examples: [
      ["sprite info box", "all there is to say"],
      ["sprite info box --json | jq .activity.awake_because", "for a program"],
    ],
    load: async () => (await import("../commands/info.ts")).info,
  },
  {
    usage: "destroy [name]",
    description: "delete a sprite, its disk and its checkpoints",
    options: [["--force", "do not ask"]],
    details: "At a terminal it asks for the name; elsewhere it refuses without --force.",
    examples: [["sprite destroy box --force", "in a script"]],
    load: async () => (await import("../commands/destroy.ts")).destroy,
  },
  {
    usage: "restart [name]",
    description: "boot the sprite anew; running commands end",
    examples: [["sprite restart box", "services start again"]],
    load: async () => (await import("../commands/sprites.ts")).restart,
  },
  {
    usage: "export [name]",
    description: "write the sprite, with its checkpoints, into one file",
    options: [["--output <file>", "where to (default: NAME.sprite)"]],
    details: "It may run on meanwhile.",
    examples: [["sprite export box --output /backup/box.sprite", "keep it elsewhere"]],
    load: async () => (await import("../commands/transfer.ts")).exportSprite,
  },
  {
    usage: "import <file> [name]",
    description: "make a sprite of such a file",
    details: "A damaged file is refused and leaves nothing.",
    examples: [["sprite import box.sprite box-2", "under another name"]],
    load: async () => (await import("../commands/transfer.ts")).importSprite,
  },
  {
    usage: "durability [setting]",
    description: "say what an fsync waits for, or change it",
    details: [
      "local    the server's disk: fast. Losing the server may lose the last second",
      "         or two.",
      "durable  the object store: slower. What was synced is never lost.",
    ].join("\n"),
    examples: [["sprite durability durable -s db", "for a database"]],
    load: async () => (await import("../commands/durability.ts")).durability,
  },
  {
    usage: "url",
    description: "print the sprite's web address",
    details: [
      "With `sprite` (the default) a request needs a token of the organization, with",
      "`public` nobody needs anything. A change counts at once.",
    ].join("\n"),
    examples: [["sprite url --json | jq -r .url", "for a program"]],
    load: async () => (await import("../commands/url.ts")).url,
    children: [
      {
        usage: "update",
        description: "say who may open the address",
        options: [authOption],
        examples: [["sprite url update --auth public", "for everybody"]],
        load: async () => (await import("../commands/url.ts")).urlUpdate,
      },
    ],
  },
  {
    usage: "config",
    description: "show what is set for the sprite",
    examples: [["sprite config --json", "for a program"]],
    load: async () => (await import("../commands/sprite-config.ts")).show,
    children: [
      {
        usage: "update",
        description: "change settings of the sprite",
        options: [
          ["--url-auth <mode>", "who may open its address: `sprite` or `public`"],
          ["--url-private-access <who>", "with `sprite`: `admins` or `org_users`"],
          ["--label <label>", "its labels, in place of those it has; repeatable", "repeatable"],
          ["--clear-labels", "no labels"],
          ["--idle-window <time>", "suspend it when idle for so long: 5m, off, default"],
        ],
        details: "What is not named stays as it is.",
        examples: [["sprite config update --url-auth public --label demo", "two at once"]],
        load: async () => (await import("../commands/sprite-config.ts")).update,
      },
    ],
  },
];
