import type { CommandSpec } from "../command-spec.ts";

const durationOption = [
  "--duration <time>",
  "how long to show what it prints (default: 5s)",
] as const;
const timeoutOption = ["--timeout <time>", "SIGKILL follows after this (default: 10s)"] as const;

export const serviceCommands: readonly CommandSpec[] = [
  {
    usage: "services",
    aliases: ["service", "svc"],
    description: "programs that run whenever the sprite runs",
    children: [
      {
        usage: "list",
        aliases: ["ls"],
        description: "list services and how they are",
        examples: [["sprite services list --json", "for a program"]],
        load: async () => (await import("../commands/services.ts")).list,
      },
      {
        usage: "get <service>",
        aliases: ["info"],
        description: "show one service: definition, state, last exit",
        examples: [["sprite services get web", "why does it not run?"]],
        load: async () => (await import("../commands/services.ts")).get,
      },
      {
        usage: "create <service> <command...>",
        description: "create or replace a service, and start it",
        passesThrough: true,
        options: [
          ["--dir <path>", "working directory (default: /home/sprite)"],
          ["--env <K=v,...>", "environment variables; repeatable", "repeatable"],
          ["--needs <service,...>", "started before it; repeatable", "repeatable"],
          ["--http-port <port>", "where requests to the sprite's address go"],
          durationOption,
        ],
        details: [
          "Options stand before the service's name; the words after it are the program",
          "and its arguments. No shell is involved. It starts again when it ends, at every",
          "start of the sprite, and after a restore; its definition is a part of the disk.",
        ].join("\n"),
        examples: [
          ["sprite services create --http-port 8000 web -- python3 -m http.server", "a web server"],
          ["sprite services create --needs db app -- ./app --production", "after another"],
        ],
        load: async () => (await import("../commands/services.ts")).create,
      },
      {
        usage: "start <service>",
        description: "start a service and what it needs",
        options: [durationOption],
        examples: [["sprite services start web --duration 0", "and come back at once"]],
        load: async () => (await import("../commands/services.ts")).start,
      },
      {
        usage: "stop <service>",
        description: "stop a service until it is started again",
        options: [timeoutOption],
        examples: [["sprite services stop web", "it stays stopped over restarts"]],
        load: async () => (await import("../commands/services.ts")).stop,
      },
      {
        usage: "restart <service>",
        description: "stop a service and start it",
        options: [durationOption],
        examples: [["sprite services restart web", "with what its files say now"]],
        load: async () => (await import("../commands/services.ts")).restart,
      },
      {
        usage: "delete <service>",
        aliases: ["rm"],
        description: "stop and forget a service; its log stays",
        options: [timeoutOption],
        examples: [["sprite services delete web", "refused while another needs it"]],
        load: async () => (await import("../commands/services.ts")).remove,
      },
      {
        usage: "logs <service>",
        description: "print what a service printed",
        options: [
          ["-f, --follow", "stay, and print what comes; Ctrl+C ends it"],
          ["-n, --lines <count>", "lines to begin with (default: 100)"],
        ],
        details: "What it wrote to stderr goes to stderr. --json prints one object a line.",
        examples: [
          ["sprite services logs web -f", "as it comes"],
          ["sprite services logs web -n 1000 --json", "with times"],
        ],
        load: async () => (await import("../commands/service-logs.ts")).logs,
      },
      {
        usage: "signal <service> <signal>",
        description: "send a signal to a service's process",
        details: "One that ends by it counts as crashed, and starts again.",
        examples: [["sprite services signal web HUP", "read the configuration again"]],
        load: async () => (await import("../commands/services.ts")).signal,
      },
    ],
  },
];
