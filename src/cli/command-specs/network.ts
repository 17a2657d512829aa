import type { CommandSpec } from "../command-spec.ts";

export const networkCommands: readonly CommandSpec[] = [
  {
    usage: "proxy [ports...]",
    description: "make ports of the sprite reachable here",
    options: [
      ["-W, --stdio <[host]:port>", "one connection, which is stdin and stdout"],
      ["--bind <address>", "local address to listen on (default: 127.0.0.1)"],
    ],
    details: [
      "A port is PORT, LOCAL:REMOTE or LOCAL:HOST:REMOTE; LOCAL 0 takes any free one.",
      "HOST is looked up inside the sprite, and its network policy applies.",
      "",
      "Each local connection gets a tunnel of its own. While the server or the sprite",
      "starts, a connection waits up to 15 s. Ctrl+C ends it.",
    ].join("\n"),
    examples: [
      ["sprite proxy 8080 15432:5432", "http://127.0.0.1:8080, and a database"],
      ["sprite proxy 0:3000 --json", "any free port, told as JSON"],
      ["ssh -o ProxyCommand='sprite proxy -s box -W :22' box", "for another program"],
    ],
    load: async () => (await import("../commands/proxy.ts")).proxy,
  },
];
