import type { CommandSpec } from "../command-spec.ts";

const forwardOption = ["--no-port-forward", "do not forward the ports that it opens"] as const;

const forwardDetails = [
  "A TCP port that it opens is reachable here under the same number, on 127.0.0.1;",
  "if that is taken, or below 1024, under another one, which is told.",
].join("\n");

export const sessionCommands: readonly CommandSpec[] = [
  {
    usage: "exec <command...>",
    aliases: ["x"],
    description: "run a command in the sprite; its exit code is ours",
    passesThrough: true,
    options: [
      ["--dir <path>", "working directory (default: /home/sprite)"],
      ["--tty", "give the command a terminal"],
      ["--env <K=v,...>", "environment variables; repeatable, `\\,` is a comma", "repeatable"],
      [
        "--file <source:dest>",
        "copy a file in before the command starts; repeatable",
        "repeatable",
      ],
      ["--http-post", "use one plain HTTP request instead of a WebSocket"],
      ["--no-stdin", "leave stdin alone: the command's stdin is empty"],
      forwardOption,
    ],
    details: [
      "Options stand before the command; from its first word on every word is the",
      "command's. No shell is involved.",
      "",
      "Stdin is sent when it is a pipe or a file. Ctrl+C interrupts the remote",
      "command; three times within two seconds leaves it behind (exit 130).",
      "",
      forwardDetails,
      "",
      "Exit codes: the command's own; 126 and 127 when the sprite cannot run it or",
      "has none of that name; 128+n for signal n; 1 when the end is not known.",
    ].join("\n"),
    examples: [
      ["sprite exec -- ls -l /", "one command"],
      ["sprite exec --dir /tmp -- sh -c 'ls | wc -l'", "a shell's line"],
      ["sprite exec --file ./job.py:/tmp/job.py -- python3 /tmp/job.py", "with a file of ours"],
      ["tar c . | sprite exec -- tar x -C /srv", "stdin goes along"],
    ],
    load: async () => (await import("../commands/exec.ts")).exec,
  },
  {
    usage: "console",
    aliases: ["c"],
    description: "open a login shell; Ctrl+\\ leaves it running",
    options: [
      ["--shell <shell>", "bash, zsh, fish, tcsh or ksh (default: the one of your choice)"],
      ["--dir <path>", "working directory (default: /home/sprite)"],
      ["--env <K=v,...>", "environment variables; repeatable", "repeatable"],
      forwardOption,
    ],
    details: [
      "Your choice of shell is what `chsh` or `sprite-console --choose SHELL` set;",
      "in a wrecked sprite it is whatever shell still works.",
      "",
      "The window's size follows. When the connection is lost the shell goes on;",
      "`sprite attach` comes back to it.",
      "",
      forwardDetails,
      "",
      "A program inside that wants to show a web page is not obeyed at once: you are",
      "asked. SPRITE_BROWSER=open or never settles it.",
    ].join("\n"),
    examples: [["sprite console -s box", "a shell in box"]],
    load: async () => (await import("../commands/exec.ts")).console,
  },
  {
    usage: "attach [session]",
    description: "join a running session; without an id, the only one",
    options: [forwardOption],
    details: "What it printed lately is shown again. Ctrl+\\ leaves it running.",
    examples: [["sprite attach 412", "come back to session 412"]],
    load: async () => (await import("../commands/sessions.ts")).attach,
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
        details: "A sleeping sprite is not woken for it: it has none.",
        examples: [["sprite sessions list --json", "for a program"]],
        load: async () => (await import("../commands/sessions.ts")).list,
      },
      {
        usage: "attach <session>",
        description: "join a running session",
        examples: [["sprite sessions attach 412", "the same as `sprite attach 412`"]],
        load: async () => (await import("../commands/sessions.ts")).attach,
      },
      {
        usage: "kill <session>",
        description: "end a session and wait until it has ended",
        options: [
          ["--signal <signal>", "signal to send (default: SIGTERM)"],
          ["--timeout <duration>", "SIGKILL follows after this (default: 10s)"],
        ],
        details: "With --timeout 0s it sends the signal and does not wait.",
        examples: [["sprite sessions kill 412 --signal INT", "as Ctrl+C would"]],
        load: async () => (await import("../commands/sessions.ts")).kill,
      },
    ],
  },
];
