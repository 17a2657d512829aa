/** Reading and writing a sprite's policies (contract.md section 8), and where a new one comes from. */
import { readFileSync } from "node:fs";
import { text } from "node:stream/consumers";
import type { NetworkRule } from "../contract/policy.ts";
import type { Cli } from "./cli.ts";
import { CliError } from "./errors.ts";

export type PolicyKind = "network" | "privileges" | "resources";
export type PolicyObject = Record<string, unknown>;

export async function readPolicy(cli: Cli, kind: PolicyKind): Promise<PolicyObject> {
  const name = cli.spriteName();
  return await cli.spin(`Reading the policy of ${name}`, () =>
    cli.forSprite(name, (path) => cli.client.json<PolicyObject>("GET", `${path}/policy/${kind}`)),
  );
}

/** Puts a policy in place of the one there is, and says so. */
export async function writePolicy(
  cli: Cli,
  kind: PolicyKind,
  policy: PolicyObject,
): Promise<number> {
  const name = cli.spriteName();
  await cli.spin(`Changing the policy of ${name}`, () =>
    cli.forSprite(name, (path) =>
      cli.client.json<unknown>("POST", `${path}/policy/${kind}`, { body: policy }),
    ),
  );
  if (cli.isJson) cli.printJson(policy);
  else {
    cli.print(`Changed the ${kind} policy of ${name}.\n`);
    if (kind === "privileges") cli.note(`It counts from the next start:  sprite restart ${name}\n`);
  }
  return 0;
}

export async function clearPolicy(cli: Cli, kind: Exclude<PolicyKind, "network">): Promise<number> {
  const name = cli.spriteName();
  await cli.spin(`Changing the policy of ${name}`, () =>
    cli.forSprite(name, (path) => cli.client.json<unknown>("DELETE", `${path}/policy/${kind}`)),
  );
  if (cli.isJson) cli.printJson({});
  else cli.print(`${name} has no ${kind} policy any more.\n`);
  return 0;
}

export function rulesOf(policy: PolicyObject): NetworkRule[] {
  const { rules } = policy;
  return Array.isArray(rules) ? (rules as NetworkRule[]) : [];
}

/** A policy from a file, or undefined when none was named. */
export async function policyFromFile(cli: Cli): Promise<PolicyObject | undefined> {
  const { policyFile } = cli.options;
  if (policyFile === undefined) return undefined;
  let content: string;
  try {
    content = policyFile === "-" ? await text(process.stdin) : readFileSync(policyFile, "utf8");
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new CliError(`read ${policyFile}: ${reason}`, { code: "local_error", cause });
  }
  return parsePolicy(content, policyFile);
}

export function parsePolicy(content: string, source: string): PolicyObject {
  try {
    const value: unknown = JSON.parse(content);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      return value as PolicyObject;
    }
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new CliError(`${source} is not JSON: ${reason}`, { code: "usage", cause });
  }
  throw new CliError(`${source} holds no JSON object`, { code: "usage" });
}
