import { normalizeDomain } from "../../contract/domain.ts";
import { spritePath, type Cli } from "../cli.ts";
import { CliError } from "../errors.ts";
import { judgeName } from "../network-rules.ts";
import { readPolicy, rulesOf } from "../policy-calls.ts";
import { runRemoteCommand } from "../remote-command.ts";
import { printable } from "../text.ts";

/** `sprite policy network test NAME`: what the rules say, and what a program inside finds. */
export async function testDomain(cli: Cli, args: readonly string[]): Promise<number> {
  const name = normalizeDomain(args[0] ?? "");
  if (name === null || name.startsWith("*")) {
    throw new CliError(`${JSON.stringify(args[0] ?? "")} is no domain name`, {
      code: "usage",
      hint: "Addresses can be reached by a name that is allowed, and not otherwise.",
    });
  }
  const verdict = judgeName(rulesOf(await readPolicy(cli, "network")), name);
  const addresses = cli.options.lookup === false ? null : await lookUp(cli, name);
  if (cli.isJson) {
    const { action, reason } = verdict;
    cli.printJson({ domain: name, action, reason, addresses });
    return 0;
  }
  const words = { allow: "allowed", deny: "denied", unknown: "not known from the rules" } as const;
  cli.print(`${name}: ${words[verdict.action ?? "unknown"]} (${printable(verdict.reason)})\n`);
  if (addresses === null) return 0;
  const found = addresses.length > 0 ? addresses.join(", ") : "no address is told";
  cli.print(`inside the sprite: ${printable(found)}\n`);
  return 0;
}

/** Empty when the name is refused, or leads nowhere. */
async function lookUp(cli: Cli, name: string): Promise<string[]> {
  const sprite = cli.spriteName();
  const script = 'getent ahosts "$1" || [ $? = 2 ]';
  const output = await cli.spin(`Asking in ${sprite}`, () =>
    runRemoteCommand(cli.client, spritePath(sprite), ["sh", "-c", script, "sh", name]),
  );
  const addresses = output
    .toString("utf8")
    .split("\n")
    .map((line) => line.split(/\s/)[0] ?? "")
    .filter((address) => address !== "");
  return [...new Set(addresses)];
}
