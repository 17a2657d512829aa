import type { CommandSpec } from "../command-spec.ts";

export const fileCommands: readonly CommandSpec[] = [
  {
    usage: "cp <source> <paths...>",
    aliases: ["copy"],
    description: "copy files and directories to and from a sprite",
    details: [
      "NAME:PATH is in the sprite NAME, :PATH in the one in use, anything else is here;",
      "`-` is stdin or stdout. A path in a sprite that does not begin with / begins at",
      "its home directory. What exists as a directory, or ends in /, is copied into.",
      "",
      "Directories are copied with all that is below, with modes and symbolic links.",
      "A file appears under its name when it is whole. A download that was broken off",
      "goes on where it stopped when the command is given again.",
    ].join("\n"),
    examples: [
      ["sprite cp ./app box:/srv/", "a directory, as /srv/app"],
      ["sprite cp :notes.txt .", "from the home directory of the sprite in use"],
      ["pg_dump db | sprite cp - box:dump.sql", "from a pipe"],
      ["sprite cp box:/var/log/syslog - | tail", "into one"],
    ],
    load: async () => (await import("../commands/cp.ts")).cp,
  },
];
