import type { CommandSpec } from "../command-spec.ts";

const adminSecretOption = [
  "--admin-secret <secret>",
  "the server's admin secret; `-` reads it from stdin",
] as const;

const loginOptions = [
  ["--token <token>", "store this token instead of asking in a browser; `-` reads stdin"],
  ["--no-browser", "print the address, do not open it"],
] as const;

const loginDetails = [
  "Prints an address and a code. Whoever opens the address, sees the same code and",
  "gives a token of the organization or the server's admin secret, lets this client",
  "in: it gets a token of its own. The browser may run anywhere that reaches the",
  "server, so this works over SSH.",
  "",
  "The token is kept in the desktop's keyring where secret-tool reaches one, else",
  "in ~/.sprites/sprites.json (mode 0600).",
].join("\n");

const loadLogin: CommandSpec["load"] = async () => (await import("../commands/login.ts")).login;

const orgCommands: readonly CommandSpec[] = [
  {
    usage: "list",
    aliases: ["ls"],
    description: "list the organizations that this client has tokens of",
    examples: [["sprite org list", "`*` marks the one in use"]],
    load: async () => (await import("../commands/org.ts")).list,
  },
  {
    usage: "use <org>",
    description: "choose the organization for commands that name none",
    examples: [["sprite org use acme", "from now on"]],
    load: async () => (await import("../commands/org.ts")).use,
  },
  {
    usage: "auth [api-url]",
    description: "log in to one more organization; as `sprite login`",
    options: loginOptions,
    details: loginDetails,
    examples: [["sprite org auth https://sprites.example.com", "at another server"]],
    load: loadLogin,
  },
  {
    usage: "create <name>",
    description: "make an organization, and a token of it for this client",
    options: [adminSecretOption],
    details: [
      "Only the holder of the server's admin secret may (spritesd serve",
      "--admin-secret-file). It also comes from SPRITES_ADMIN_SECRET.",
    ].join("\n"),
    examples: [["sprite org create acme --admin-secret - < secret", "and use it"]],
    load: async () => (await import("../commands/org.ts")).create,
  },
  {
    usage: "logout",
    description: "forget the organization's token",
    options: [
      ["--force", "do not ask"],
      ["--revoke", "end the token at the server too"],
    ],
    examples: [["sprite org logout -o acme --revoke --force", "in a script"]],
    load: async () => (await import("../commands/org.ts")).logout,
  },
  {
    usage: "tokens",
    aliases: ["token"],
    description: "see and end the organization's tokens",
    children: [
      {
        usage: "list",
        aliases: ["ls"],
        description: "list the valid tokens, newest first; never their secrets",
        examples: [["sprite org tokens list", "`*` marks this client's own"]],
        load: async () => (await import("../commands/tokens.ts")).list,
      },
      {
        usage: "create",
        description: "make a token and print it",
        options: [
          adminSecretOption,
          ["--description <text>", "what it is for"],
          ["--role <role>", "admin or member: who opens URLs for admins"],
        ],
        details: "Only the holder of the server's admin secret may.",
        examples: [["sprite org tokens create --description ci -o acme", "it is shown once"]],
        load: async () => (await import("../commands/tokens.ts")).create,
      },
      {
        usage: "revoke <token-id>",
        description: "end a token, at once and everywhere",
        examples: [["sprite org tokens revoke k3v9p2m8x7q4w6z5", "an id of the list"]],
        load: async () => (await import("../commands/tokens.ts")).revoke,
      },
    ],
  },
  {
    usage: "keyring",
    description: "say where tokens are kept",
    children: [
      {
        usage: "enable",
        description: "keep tokens in the desktop's keyring",
        details: "Moves those that are in the file. Needs secret-tool (libsecret-tools).",
        examples: [["sprite org keyring enable", "none is left in the file"]],
        load: async () => (await import("../commands/keyring.ts")).enable,
      },
      {
        usage: "disable",
        description: "keep tokens in ~/.sprites/sprites.json",
        details: "Moves those that are in the keyring.",
        examples: [["sprite org keyring disable", "for a machine without a desktop"]],
        load: async () => (await import("../commands/keyring.ts")).disable,
      },
    ],
  },
];

export const clientCommands: readonly CommandSpec[] = [
  {
    usage: "login [api-url]",
    description: "get a token from the server, approved in a browser",
    options: loginOptions,
    details: loginDetails,
    examples: [
      ["sprite login", "the server in use, or the one of this machine"],
      ["sprite login https://sprites.example.com", "another one"],
      ["echo $TOKEN | sprite login --token -", "without a browser"],
    ],
    load: loadLogin,
  },
  {
    usage: "logout",
    description: "forget every stored token",
    options: [["--revoke", "end them at their servers too"]],
    examples: [["sprite logout --revoke", "before the machine is given away"]],
    load: async () => (await import("../commands/auth.ts")).logout,
  },
  {
    usage: "org",
    aliases: ["orgs", "organizations", "o"],
    description: "organizations and their tokens",
    children: orgCommands,
  },
  {
    usage: "auth",
    description: "tokens of this client",
    children: [
      {
        usage: "setup",
        description: "store a token",
        options: [["--token <token>", "the token; `-` reads it from stdin"]],
        details: "It is tried first; a refused one is not stored.",
        examples: [
          [
            "bin/spritesd token create --org local | sprite auth setup --token -",
            "where the server runs",
          ],
        ],
        load: async () => (await import("../commands/auth.ts")).setup,
      },
      {
        usage: "status",
        description: "show which server and organization are used",
        examples: [["sprite auth status --json", "and where the token came from"]],
        load: async () => (await import("../commands/auth.ts")).status,
      },
    ],
  },
  {
    usage: "trust",
    description: "have browsers and programs take the server's certificates",
    options: [
      ["--fingerprint <sha256>", "the authority that it must be"],
      ["--system", "only the machine's store (needs root)"],
      ["--browsers", "only this user's browsers"],
      ["--print", "print the authority and change nothing"],
      ["--remove", "forget every authority that was added so"],
    ],
    details: [
      "A server without a certificate of its own makes an authority, which is limited",
      "to its domain. This adds it to the machine's store and to those of Chromium and",
      "Firefox (certutil, of libnss3-tools). From another machine it is fetched over",
      "TLS that is trusted already, or has to be named by its fingerprint.",
    ].join("\n"),
    examples: [
      ["sudo sprite trust --system", "for curl, git and the like"],
      ["sprite trust --browsers", "for your own browser"],
      ["sprite trust --remove", "and back"],
    ],
    load: async () => (await import("../commands/trust.ts")).trust,
  },
  {
    usage: "api <path> [curl-options...]",
    description: "call the API with curl and our token",
    passesThrough: true,
    details: [
      "The path is below /v1, or with -s below the sprite. curl's exit code is ours;",
      "the token is not among its arguments.",
    ].join("\n"),
    examples: [
      ["sprite api /sprites", "all sprites"],
      ["sprite -s box api /exec", "box's sessions"],
      ['sprite -s box api /checkpoint -- -X POST -d \'{"comment":"clean"}\'', "with a body"],
    ],
    load: async () => (await import("../commands/api.ts")).api,
  },
  {
    usage: "upgrade",
    description: "say how this client is upgraded",
    examples: [["sprite upgrade", "it comes with the server's repository"]],
    load: async () => (await import("../commands/upgrade.ts")).upgrade,
  },
  {
    usage: "completion <shell>",
    description: "print a completion script for bash, zsh or fish",
    details: "Names and ids come from the server, within one second or not at all.",
    examples: [["source <(sprite completion bash)", "in ~/.bashrc"]],
    load: async () => (await import("../commands/completion.ts")).completion,
  },
];
