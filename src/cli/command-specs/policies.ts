import type { CommandSpec } from "../command-spec.ts";

const networkCommands: readonly CommandSpec[] = [
  {
    usage: "show",
    aliases: ["get"],
    description: "show the rules",
    examples: [["sprite policy network show --json > policy.json", "to change them by hand"]],
    load: async () => (await import("../commands/policy.ts")).showNetwork,
  },
  {
    usage: "set",
    description: "put rules in place of those there are",
    options: [
      ["--policy-file <path>", "rules as JSON; `-` is stdin"],
      ["--allow <domain>", "repeatable", "repeatable"],
      ["--deny <domain>", "repeatable", "repeatable"],
      ["--include <list>", "`defaults`: registries, git hosts, AI APIs; repeatable", "repeatable"],
    ],
    details: [
      "A domain is a name, *.name for all below it, or *. The most exact rule counts.",
      "When something is allowed, the rest is denied. Connections that the new rules",
      "forbid are cut at once.",
    ].join("\n"),
    examples: [
      ["sprite policy network set --include defaults --allow '*.example.com'", "only these"],
      ["sprite policy network set --policy-file policy.json", "from a file"],
    ],
    load: async () => (await import("../commands/policy.ts")).setNetwork,
  },
  {
    usage: "allow <domains...>",
    description: "add rules that allow, in place of ones that deny them",
    examples: [["sprite policy network allow api.example.com '*.cdn.example'", "two more"]],
    load: async () => (await import("../commands/policy.ts")).allow,
  },
  {
    usage: "deny <domains...>",
    description: "add rules that deny, in place of ones that allow them",
    examples: [["sprite policy network deny telemetry.example.com", "one less"]],
    load: async () => (await import("../commands/policy.ts")).deny,
  },
  {
    usage: "remove <domains...>",
    aliases: ["rm"],
    description: "take rules about domains away",
    examples: [["sprite policy network remove api.example.com", "whatever it said"]],
    load: async () => (await import("../commands/policy.ts")).removeRules,
  },
  {
    usage: "edit",
    description: "change the rules in an editor ($VISUAL, $EDITOR)",
    examples: [["EDITOR=nano sprite policy network edit", "what does not fit is refused"]],
    load: async () => (await import("../commands/policy.ts")).editNetwork,
  },
  {
    usage: "test <domain>",
    description: "say whether the sprite may reach a name, and by which rule",
    options: [["--no-lookup", "only read the rules, do not ask inside the sprite"]],
    details: [
      "The name is looked up inside the sprite, which is what counts; a sleeping one",
      "is woken for it.",
    ].join("\n"),
    examples: [["sprite policy network test pypi.org", "allowed, and why"]],
    load: async () => (await import("../commands/policy-test.ts")).testDomain,
  },
  {
    usage: "clear",
    description: "take all rules away: no restriction",
    examples: [["sprite policy network clear", "private networks stay blocked"]],
    load: async () => (await import("../commands/policy.ts")).clearNetwork,
  },
];

export const policyCommands: readonly CommandSpec[] = [
  {
    usage: "policy",
    aliases: ["policies"],
    description: "what a sprite may reach, do and use",
    children: [
      {
        usage: "network",
        aliases: ["net"],
        description: "which names it may reach",
        children: networkCommands,
      },
      {
        usage: "privileges",
        description: "what root inside may do",
        children: [
          {
            usage: "show",
            aliases: ["get"],
            description: "show the policy",
            examples: [["sprite policy privileges show", "and whether it counts already"]],
            load: async () => (await import("../commands/policy.ts")).showPrivileges,
          },
          {
            usage: "set",
            description: "put a policy in place of the one there is",
            options: [
              ["--policy-file <path>", "the policy as JSON; `-` is stdin"],
              ["--profile <profile>", "minimal, standard or privileged"],
              ["--device <name>", "the only devices there are; repeatable", "repeatable"],
              ["--no-new-privileges", "programs cannot gain privileges, sudo neither"],
            ],
            details: "It counts from the next start of the sprite: `sprite restart`.",
            examples: [["sprite policy privileges set --profile minimal", "then restart"]],
            load: async () => (await import("../commands/policy.ts")).setPrivileges,
          },
          {
            usage: "clear",
            description: "back to what the server gives each",
            examples: [["sprite policy privileges clear", "from the next start on"]],
            load: async () => (await import("../commands/policy.ts")).clearPrivileges,
          },
        ],
      },
      {
        usage: "resources",
        description: "how much it may use",
        children: [
          {
            usage: "show",
            aliases: ["get"],
            description: "show the policy",
            examples: [["sprite policy resources show --json", "for a program"]],
            load: async () => (await import("../commands/policy.ts")).showResources,
          },
          {
            usage: "set",
            description: "put a policy in place of the one there is",
            options: [
              ["--policy-file <path>", "the policy as JSON; `-` is stdin"],
              ["--memory <size>", "memory, as 512M or 2G"],
              ["--autoscale", "more memory while the machine has it to spare"],
              ["--cpus <cores>", "processor time, in cores"],
              ["--pids <count>", "processes"],
            ],
            details: "It counts at once. The server's own limits are the most.",
            examples: [["sprite policy resources set --memory 1G --cpus 0.5", "two limits"]],
            load: async () => (await import("../commands/policy.ts")).setResources,
          },
          {
            usage: "clear",
            description: "back to what the server gives each",
            examples: [["sprite policy resources clear", "at once"]],
            load: async () => (await import("../commands/policy.ts")).clearResources,
          },
        ],
      },
    ],
  },
];
