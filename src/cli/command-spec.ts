import type { Command } from "./cli.ts";

export type OptionSpec = readonly [flags: string, description: string, kind?: "repeatable"];
export type ExampleSpec = readonly [commandLine: string, meaning: string];

/** What help, parsing and completion know of a command; its code is behind `load`. */
export interface CommandSpec {
  usage: string;
  /** One line, for the list of commands. */
  description: string;
  aliases?: readonly string[];
  options?: readonly OptionSpec[];
  /** The manual's text: what the line above leaves out. Lines of at most 78 columns. */
  details?: string;
  /** Every command that does something has one. */
  examples?: readonly ExampleSpec[];
  /** Everything behind the first word belongs to somebody else's command line. */
  passesThrough?: boolean;
  load?: () => Promise<Command>;
  children?: readonly CommandSpec[];
}

export function nameOf(spec: CommandSpec): string {
  return spec.usage.split(" ")[0] ?? "";
}

export function childOf(spec: CommandSpec, word: string): CommandSpec | undefined {
  return spec.children?.find(
    (child) => nameOf(child) === word || child.aliases?.includes(word) === true,
  );
}
