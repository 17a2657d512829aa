import { Command as CommanderCommand, CommanderError } from "commander";
import { Cli, type CliSurroundings, type Command, type CommandOptions } from "./cli.ts";
import type { CommandSpec } from "./command-spec.ts";
import { commandGroups } from "./command-table.ts";
import { CliError, exitCodeUnknownCommand } from "./errors.ts";

/** Parses the command line, loads the one command it names, and runs it. */
export async function runProgram(
  surroundings: CliSurroundings,
  argv: readonly string[],
): Promise<number> {
  // Completion must be told the words as they are, so it is not parsed by rules made for people.
  if (argv[0] === "__complete") {
    const { complete } = await import("./complete.ts");
    return await complete(new Cli(surroundings, {}), argv.slice(1));
  }
  let exitCode = 0;
  // A bare `sprite` is somebody who looks around.
  const words = argv.length === 0 ? ["--help"] : [...argv];
  const program = buildProgram(surroundings, async (load, command) => {
    const run = await load();
    exitCode = await run(
      new Cli(surroundings, command.optsWithGlobals<CommandOptions>()),
      command.args,
    );
  });
  try {
    await program.parseAsync(words, { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return translateUsageError(error);
  }
  return exitCode;
}

type Invoke = (load: () => Promise<Command>, command: CommanderCommand) => Promise<void>;

/** The whole tree of commands; nothing of a command is loaded until it is invoked. */
function buildProgram(surroundings: CliSurroundings, invoke: Invoke): CommanderCommand {
  const program = new CommanderCommand("sprite")
    .description("Durable, checkpointable Linux computers, from the command line.")
    .version(`sprite ${surroundings.version}`, "-V, --version", "print the version")
    .helpOption("-h, --help", "show help")
    .helpCommand("help [command]", "show help for a command")
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({
      writeOut: (text) => surroundings.out.write(text),
      // Usage errors are thrown, and told once, by whoever catches them.
      writeErr: () => {},
      getOutHelpWidth: () => process.stdout.columns || 80,
    });
  addCommonOptions(program);
  for (const [heading, specs] of commandGroups) {
    for (const spec of specs) addCommand(program, spec, invoke).helpGroup(heading);
  }
  return program;
}

function addCommand(parent: CommanderCommand, spec: CommandSpec, invoke: Invoke): CommanderCommand {
  const command = parent.command(spec.usage).description(spec.description);
  if (spec.aliases !== undefined) command.aliases(spec.aliases);
  command.addHelpText("after", manualText(spec));
  addCommonOptions(command);
  for (const [flags, description, kind] of spec.options ?? []) {
    if (kind === "repeatable") command.option(flags, description, collect);
    else command.option(flags, description);
  }
  if (spec.passesThrough === true) command.passThroughOptions();
  const { load } = spec;
  if (load !== undefined) {
    command.action(async (..._words: unknown[]) => await invoke(load, command));
  }
  for (const child of spec.children ?? []) addCommand(command, child, invoke);
  return command;
}

/** What the manual says below the options. */
function manualText(spec: CommandSpec): string {
  const parts: string[] = [];
  if (spec.details !== undefined) parts.push(spec.details);
  if (spec.examples !== undefined) {
    const lines = spec.examples.map(([line, meaning]) => `  ${line}\n      ${meaning}`);
    parts.push(["Examples:", ...lines].join("\n"));
  }
  return parts.map((part) => `\n${part}`).join("\n");
}

/** On every command, so that they may stand before or behind its name. */
function addCommonOptions(command: CommanderCommand): void {
  command
    .option("-o, --org <org>", "organization whose token is used")
    .option("-s, --sprite <name>", "sprite to act on")
    .option("--json", "machine output: JSON on stdout, errors as JSON on stderr");
}

function collect(value: string, previous: string[] | undefined): string[] {
  return [...(previous ?? []), value];
}

/** Help and version end with 0; an unknown command with 2; every other mistake with 1. */
function translateUsageError(error: CommanderError): number {
  if (error.exitCode === 0) return 0;
  if (error.code === "commander.help") {
    throw new CliError("a subcommand is missing", {
      code: "usage",
      hint: "Add --help to see the subcommands.",
    });
  }
  const isUnknown = error.code === "commander.unknownCommand";
  const [message = "", ...more] = error.message.replace(/^error: /, "").split("\n");
  const suggestion = more
    .join(" ")
    .trim()
    .replace(/^\(|\)$/g, "");
  throw new CliError(message, {
    code: isUnknown ? "unknown_command" : "usage",
    exitCode: isUnknown ? exitCodeUnknownCommand : 1,
    hint: suggestion === "" ? "`sprite help` lists the commands and options." : suggestion,
  });
}
