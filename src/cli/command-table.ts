import type { Command } from "./cli.ts";

export type OptionSpec = readonly [flags: string, description: string, kind?: "repeatable"];

/** What help, parsing and completion know of a command; its code is behind `load`. */
export interface CommandSpec {
  usage: string;
  description: string;
  aliases?: readonly string[];
  options?: readonly OptionSpec[];
  details?: string;
  /** Everything behind the first word belongs to somebody else's command line. */
  passesThrough?: boolean;
  load?: () => Promise<Command>;
  children?: readonly CommandSpec[];
}

const sessionCommands: readonly CommandSpec[] = [
  {
    usage: "exec <command...>",
    aliases: ["x"],
    description: "run a command in the sprite; its exit code is ours",
    passesThrough: true,
    options: [
      ["--dir <path>", "working directory (default: /home/sprite)"],
      ["--tty", "give the command a terminal"],
      ["--env <K=v,...>", "environment variables; repeatable, `\\,` is a comma", "repeatable"],
      ["--http-post", "use one plain HTTP request instead of a WebSocket"],
      ["--no-stdin", "leave stdin alone: the command's stdin is empty"],
    ],
    details: [
      "Options stand before the command: sprite exec --dir /tmp -- ls -l",
      "Stdin is sent when it is a pipe or a file. Ctrl+C interrupts the remote command.",
    ].join("\n"),
    load: async () => (await import("./commands/exec.ts")).exec,
  },
  {
    usage: "console",
    aliases: ["c"],
    description: "open a login shell; Ctrl+\\ leaves it running",
    options: [
      ["--shell <shell>", "bash, zsh, fish, tcsh or ksh (default: bash)"],
      ["--dir <path>", "working directory (default: /home/sprite)"],
      ["--env <K=v,...>", "environment variables; repeatable", "repeatable"],
    ],
    load: async () => (await import("./commands/exec.ts")).console,
  },
  {
    usage: "attach [session]",
    description: "join a running session; without an id, the only one",
    load: async () => (await import("./commands/sessions.ts")).attach,
  },
  {
    usage: "sessions",
    aliases: ["s"],
    description: "list, join and end running commands",
    children: [
      {
        usage: "list",
        aliases: ["ls"],
        description: "list running sessions",
        load: async () => (await import("./commands/sessions.ts")).list,
      },
      {
        usage: "attach <session>",
        description: "join a running session",
        load: async () => (await import("./commands/sessions.ts")).attach,
      },
      {
        usage: "kill <session>",
        description: "end a session and wait until it has ended",
        options: [
          ["--signal <signal>", "signal to send (default: SIGTERM)"],
          ["--timeout <duration>", "SIGKILL follows after this (default: 10s)"],
        ],
        load: async () => (await import("./commands/sessions.ts")).kill,
      },
    ],
  },
];

const checkpointCommands: readonly CommandSpec[] = [
  {
    usage: "checkpoint",
    aliases: ["checkpoints"],
    description: "save the disk's state, and look at what was saved",
    children: [
      {
        usage: "create",
        description: "save the disk as it is now",
        options: [["--comment <text>", "what this state is"]],
        load: async () => (await import("./commands/checkpoints.ts")).create,
      },
      {
        usage: "list",
        aliases: ["ls"],
        description: "list checkpoints, newest first",
        options: [
          ["--history <id>", "only this checkpoint and its ancestors"],
          ["--include-auto", "also those made automatically before a restore"],
        ],
        load: async () => (await import("./commands/checkpoints.ts")).list,
      },
      {
        usage: "info <id>",
        description: "show one checkpoint; `Current` is the live state",
        load: async () => (await import("./commands/checkpoints.ts")).info,
      },
      {
        usage: "delete <id>",
        aliases: ["rm"],
        description: "delete a checkpoint",
        load: async () => (await import("./commands/checkpoints.ts")).remove,
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
    load: async () => (await import("./commands/restore.ts")).restore,
  },
  {
    usage: "repair [name]",
    description: "repair a damaged disk; what cannot be saved is lost",
    details: "The state before the repair is kept as an automatic checkpoint.",
    load: async () => (await import("./commands/restore.ts")).repair,
  },
];

const spriteCommands: readonly CommandSpec[] = [
  {
    usage: "create [name]",
    description: "make a sprite; at a terminal, open a console in it",
    options: [
      ["--skip-console", "do not open a console"],
      ["--label <label>", "label; repeatable", "repeatable"],
      ["--from <sprite[@id]>", "begin with that sprite's disk, or with a checkpoint of it"],
    ],
    load: async () => (await import("./commands/sprites.ts")).create,
  },
  {
    usage: "list",
    aliases: ["ls"],
    description: "list sprites",
    options: [
      ["--prefix <text>", "only names that begin so"],
      ["-w, --watch", "stay, and print every change"],
    ],
    load: async () => (await import("./commands/sprites.ts")).list,
  },
  {
    usage: "use [name]",
    description: "choose the sprite for this directory (writes .sprite)",
    options: [["--unset", "forget the choice"]],
    load: async () => (await import("./commands/use.ts")).use,
  },
  {
    usage: "info [name]",
    description: "show a sprite",
    load: async () => (await import("./commands/sprites.ts")).info,
  },
  {
    usage: "destroy [name]",
    description: "delete a sprite, its disk and its checkpoints",
    options: [["--force", "do not ask"]],
    load: async () => (await import("./commands/destroy.ts")).destroy,
  },
  {
    usage: "restart [name]",
    description: "boot the sprite anew; running commands end",
    load: async () => (await import("./commands/sprites.ts")).restart,
  },
  {
    usage: "export [name]",
    description: "write the sprite, with its checkpoints, into one file",
    options: [["--output <file>", "where to (default: NAME.sprite)"]],
    load: async () => (await import("./commands/transfer.ts")).exportSprite,
  },
  {
    usage: "import <file> [name]",
    description: "make a sprite of such a file",
    load: async () => (await import("./commands/transfer.ts")).importSprite,
  },
  {
    usage: "durability [setting]",
    description: "say what an fsync waits for, or change it",
    details: [
      "local    the server's disk: fast. Losing the server may lose the last second or two.",
      "durable  the object store: slower. What was synced is never lost.",
    ].join("\n"),
    load: async () => (await import("./commands/durability.ts")).durability,
  },
  {
    usage: "url",
    description: "print the sprite's web address",
    load: async () => (await import("./commands/sprites.ts")).url,
    children: [
      {
        usage: "update",
        description: "say who may open the address",
        options: [["--auth <mode>", "`sprite` (token holders) or `public` (everybody)"]],
        load: async () => (await import("./commands/sprites.ts")).urlUpdate,
      },
    ],
  },
];

const clientCommands: readonly CommandSpec[] = [
  {
    usage: "auth",
    description: "tokens of this client",
    children: [
      {
        usage: "setup",
        description: "store a token in ~/.sprites/sprites.json",
        options: [["--token <token>", "the token; `-` reads it from stdin"]],
        load: async () => (await import("./commands/auth.ts")).setup,
      },
      {
        usage: "status",
        description: "show which server and organization are used",
        load: async () => (await import("./commands/auth.ts")).status,
      },
    ],
  },
  {
    usage: "logout",
    description: "forget every stored token",
    load: async () => (await import("./commands/auth.ts")).logout,
  },
  {
    usage: "api <path> [curl-options...]",
    description: "call the API with curl and our token",
    passesThrough: true,
    details: [
      "The path is below /v1, or with -s below the sprite:",
      "  sprite api /sprites",
      "  sprite -s box api /exec",
      '  sprite -s box api /checkpoint -- -X POST -d \'{"comment":"clean"}\'',
    ].join("\n"),
    load: async () => (await import("./commands/api.ts")).api,
  },
  {
    usage: "upgrade",
    description: "say how this client is upgraded",
    load: async () => (await import("./commands/upgrade.ts")).upgrade,
  },
  {
    usage: "completion <shell>",
    description: "print a completion script for bash, zsh or fish",
    load: async () => (await import("./commands/completion.ts")).completion,
  },
];

export const commandTable: readonly CommandSpec[] = [
  ...spriteCommands,
  ...sessionCommands,
  ...checkpointCommands,
  ...clientCommands,
];
