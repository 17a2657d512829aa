import { durabilities } from "../contract/durability.ts";
import type { Checkpoint, Session } from "./api-types.ts";
import { spritePath, type Cli } from "./cli.ts";
import { childOf, nameOf, type CommandSpec, type OptionSpec } from "./command-spec.ts";
import { commandTable } from "./command-table.ts";
import { UserConfig } from "./config.ts";
import { completionTimeoutMsMax } from "./limits.ts";
import { rulesOf, type PolicyObject } from "./policy-calls.ts";
import type { Service } from "./service-calls.ts";
import { printable } from "./text.ts";

const commonOptions: readonly OptionSpec[] = [
  ["-o, --org <org>", "organization whose token is used"],
  ["-s, --sprite <name>", "sprite to act on"],
  ["--json", "machine output"],
  ["-h, --help", "show help"],
];

export interface Candidate {
  word: string;
  description: string;
}

const wantedByArgument: Readonly<Record<string, Wanted>> = {
  name: "sprite",
  session: "session",
  id: "checkpoint",
  to: "checkpoint",
  service: "service",
  domains: "domain",
  org: "organization",
  shell: "shell",
  setting: "setting",
};

type Wanted =
  | "sprite"
  | "session"
  | "checkpoint"
  | "service"
  | "domain"
  | "organization"
  | "shell"
  | "setting"
  | "nothing";

export interface Completion {
  /** Words of the command line itself that may stand here. */
  candidates: Candidate[];
  /** What the server would have to be asked for. */
  wanted: Wanted;
  spriteOption: string | undefined;
}

/** `sprite __complete WORD...`: prints what the last, unfinished word may become. */
export async function complete(cli: Cli, words: readonly string[]): Promise<number> {
  const current = words.at(-1) ?? "";
  const found = findCompletion(words.slice(0, -1), current);
  if (found.spriteOption !== undefined) cli.options.sprite = found.spriteOption;
  // Nothing may disturb the prompt: without an answer in time there are no suggestions.
  const dynamic = await askServer(cli, found.wanted).catch(() => []);
  for (const { word, description } of [...found.candidates, ...dynamic]) {
    if (!word.startsWith(current)) continue;
    cli.print(`${word}${description === "" ? "" : `\t${description}`}\n`);
  }
  return 0;
}

/** Walks the words through the tree of commands, up to the one that is being typed. */
export function findCompletion(before: readonly string[], current: string): Completion {
  let spec: CommandSpec = { usage: "sprite", description: "", children: commandTable };
  let spriteOption: string | undefined;
  let argumentCount = 0;
  const nothing = { candidates: [], spriteOption };
  for (let i = 0; i < before.length; i++) {
    const word = before[i] ?? "";
    if (word === "--") return { ...nothing, wanted: "nothing", spriteOption };
    if (word.startsWith("-")) {
      const option = allOptions(spec).find(([flags]) => flagsOf(flags).includes(word));
      if (option === undefined || !option[0].includes("<")) continue;
      const flags = flagsOf(option[0]);
      const isSprite = flags.includes("--sprite");
      const isOrg = flags.includes("--org");
      if (i === before.length - 1) {
        const isName = isSprite || flags.includes("--from");
        const wanted = isName ? "sprite" : isOrg ? "organization" : "nothing";
        return { ...nothing, wanted, spriteOption };
      }
      i++;
      if (isSprite) spriteOption = before[i];
      continue;
    }
    const child = childOf(spec, word);
    if (child !== undefined) spec = child;
    else if (spec.passesThrough === true) return { ...nothing, wanted: "nothing", spriteOption };
    else argumentCount++;
  }
  const candidates: Candidate[] = current.startsWith("-")
    ? allOptions(spec).flatMap(([flags, description]) =>
        flagsOf(flags).map((word) => ({ word, description })),
      )
    : (spec.children ?? []).map((child) => ({
        word: nameOf(child),
        description: child.description,
      }));
  const wanted = current.startsWith("-") ? "nothing" : wantedBy(spec, argumentCount);
  return { candidates, wanted, spriteOption };
}

/** @param index of the argument that is being typed; the last one may be repeated */
function wantedBy(spec: CommandSpec, index: number): Wanted {
  // What is to be made has no name yet.
  if (nameOf(spec) === "create") return "nothing";
  const names = [...spec.usage.matchAll(/[<[](\w+)(\.\.\.)?/g)];
  const last = names.at(-1);
  const argument = names[index] ?? (last?.[2] === undefined ? undefined : last);
  return wantedByArgument[argument?.[1] ?? ""] ?? "nothing";
}

async function askServer(cli: Cli, wanted: Wanted): Promise<Candidate[]> {
  const timeoutMs = completionTimeoutMsMax;
  const plain = (word: string): Candidate => ({ word: printable(word), description: "" });
  switch (wanted) {
    case "nothing":
      return [];
    case "shell":
      return ["bash", "zsh", "fish"].map(plain);
    case "setting":
      return durabilities.map(plain);
    case "sprite":
      return (await cli.spriteNames({ timeoutMs })).map(plain);
    case "service": {
      const path = `${spritePath(cli.spriteName())}/services`;
      const services = await cli.client.json<Service[]>("GET", path, { timeoutMs });
      return services.map(({ name, state }) => ({
        word: printable(name),
        description: printable(state?.status ?? ""),
      }));
    }
    case "domain": {
      const path = `${spritePath(cli.spriteName())}/policy/network`;
      const policy = await cli.client.json<PolicyObject>("GET", path, { timeoutMs });
      return rulesOf(policy).flatMap((rule) => ("domain" in rule ? [plain(rule.domain)] : []));
    }
    case "organization": {
      const config = UserConfig.load(cli.home);
      const names = config.urls().flatMap((url) => config.orgs(url).map(({ name }) => name));
      return [...new Set(names)].map(plain);
    }
    case "session": {
      const path = `${spritePath(cli.spriteName())}/exec`;
      const answer = await cli.client.json<{ sessions: Session[] }>("GET", path, { timeoutMs });
      return answer.sessions.map(({ id, command }) => ({
        word: printable(id),
        description: printable(command ?? ""),
      }));
    }
    case "checkpoint": {
      const path = `${spritePath(cli.spriteName())}/checkpoints`;
      const list = await cli.client.json<Checkpoint[]>("GET", path, { timeoutMs });
      return list.map(({ id, comment }) => ({
        word: printable(id),
        description: printable(comment ?? ""),
      }));
    }
  }
}

function allOptions(spec: CommandSpec): readonly OptionSpec[] {
  return [...(spec.options ?? []), ...commonOptions];
}

function flagsOf(flags: string): string[] {
  return flags.split(/[ ,]+/).filter((part) => part.startsWith("-"));
}
