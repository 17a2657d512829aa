import type { Environment } from "./target.ts";
import { CliError } from "./errors.ts";

/** What a program at a terminal needs to know of the one that shows it (contract.md section 11). */
const terminalVariables = ["TERM", "COLORTERM", "LANG", "LC_ALL"] as const;

/**
 * Reads `--env K=v,K2=v2`. A comma starts a new pair only where a name and `=` follow, so
 * `--env LIST=a,b` is one variable; `\,` is always a comma of the value.
 */
export function parseEnvironmentOption(values: readonly string[]): Map<string, string> {
  const environment = new Map<string, string>();
  for (const value of values) {
    for (const pair of value.split(/(?<!\\),(?=[A-Za-z_][A-Za-z0-9_]*=)/)) {
      const equals = pair.indexOf("=");
      const name = pair.slice(0, equals);
      if (equals < 1 || !/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
        // The value may be a secret, so the message shows no more than the shape.
        throw new CliError("--env takes NAME=value pairs", {
          code: "usage",
          hint: "For example: --env A=1,B=2 or --env A=1 --env B=2",
        });
      }
      environment.set(name, pair.slice(equals + 1).replaceAll("\\,", ","));
    }
  }
  return environment;
}

/** The local terminal's variables, below those that were given. */
export function withTerminalVariables(
  given: ReadonlyMap<string, string>,
  local: Environment,
): Map<string, string> {
  const environment = new Map<string, string>();
  for (const name of terminalVariables) {
    const value = local[name];
    if (value !== undefined && value !== "") environment.set(name, value);
  }
  for (const [name, value] of given) environment.set(name, value);
  return environment;
}
