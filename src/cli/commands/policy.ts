import type { NetworkRule } from "../../contract/policy.ts";
import type { Cli } from "../cli.ts";
import { editText } from "../editor.ts";
import { CliError } from "../errors.ts";
import {
  clearPolicy,
  parsePolicy,
  policyFromFile,
  readPolicy,
  rulesOf,
  writePolicy,
  type PolicyObject,
} from "../policy-calls.ts";
import { formatFields, formatTable, printable } from "../text.ts";

export async function showNetwork(cli: Cli): Promise<number> {
  const policy = await readPolicy(cli, "network");
  const rules = rulesOf(policy);
  if (cli.isJson) cli.printJson(policy);
  else if (rules.length === 0) cli.print("No rules: no name is denied.\n");
  else {
    const rows = rules.map((rule) =>
      "include" in rule
        ? ["allow", `the list ${printable(rule.include)}`]
        : [printable(rule.action), printable(rule.domain)],
    );
    cli.print(formatTable(["ACTION", "DOMAIN"], rows));
  }
  return 0;
}

export async function setNetwork(cli: Cli): Promise<number> {
  const { allow: allowed = [], deny: denied = [], include = [] } = cli.options;
  const rules = [
    ...include.map((list) => ({ include: list })),
    ...allowed.map((domain) => ({ domain, action: "allow" })),
    ...denied.map((domain) => ({ domain, action: "deny" })),
  ];
  const policy = await oneSource(cli, rules.length > 0 ? { rules } : undefined);
  return await writePolicy(cli, "network", policy);
}

export async function allow(cli: Cli, args: readonly string[]): Promise<number> {
  return await changeRules(cli, args, "allow");
}

export async function deny(cli: Cli, args: readonly string[]): Promise<number> {
  return await changeRules(cli, args, "deny");
}

export async function removeRules(cli: Cli, args: readonly string[]): Promise<number> {
  return await changeRules(cli, args, null);
}

export async function editNetwork(cli: Cli): Promise<number> {
  const before = `${JSON.stringify(await readPolicy(cli, "network"), null, 2)}\n`;
  const after = await editText(cli, before, "policy.json");
  if (after === before) {
    cli.note("Nothing was changed.\n");
    return 0;
  }
  return await writePolicy(cli, "network", parsePolicy(after, "what was edited"));
}

export async function clearNetwork(cli: Cli): Promise<number> {
  return await writePolicy(cli, "network", { rules: [] });
}

export async function showPrivileges(cli: Cli): Promise<number> {
  return showFields(cli, await readPolicy(cli, "privileges"));
}

export async function setPrivileges(cli: Cli): Promise<number> {
  const { profile, device: devices, newPrivileges } = cli.options;
  const flags = {
    ...(profile === undefined ? {} : { profile }),
    ...(devices === undefined ? {} : { devices }),
    ...(newPrivileges === false ? { noNewPrivileges: true } : {}),
  };
  const policy = await oneSource(cli, Object.keys(flags).length > 0 ? flags : undefined);
  return await writePolicy(cli, "privileges", policy);
}

export async function clearPrivileges(cli: Cli): Promise<number> {
  return await clearPolicy(cli, "privileges");
}

export async function showResources(cli: Cli): Promise<number> {
  return showFields(cli, await readPolicy(cli, "resources"));
}

export async function setResources(cli: Cli): Promise<number> {
  const { memory, autoscale, cpus, pids } = cli.options;
  if (autoscale === true && memory === undefined) {
    throw new CliError("--autoscale needs --memory to begin from", { code: "usage" });
  }
  const flags = {
    ...(memory === undefined
      ? {}
      : { memory: { limit_mb: megabytes(memory), ...(autoscale === true ? { autoscale } : {}) } }),
    ...(cpus === undefined ? {} : { cpu: { limit_cores: numberOf(cpus, "--cpus") } }),
    ...(pids === undefined ? {} : { pids: { limit: numberOf(pids, "--pids") } }),
  };
  const policy = await oneSource(cli, Object.keys(flags).length > 0 ? flags : undefined);
  return await writePolicy(cli, "resources", policy);
}

export async function clearResources(cli: Cli): Promise<number> {
  return await clearPolicy(cli, "resources");
}

/** Rules about the domains are taken away, and new ones put first: people look for what they did last. */
async function changeRules(
  cli: Cli,
  domains: readonly string[],
  action: "allow" | "deny" | null,
): Promise<number> {
  const wanted = new Set(domains.map((domain) => domain.toLowerCase()));
  const rules = rulesOf(await readPolicy(cli, "network"));
  const kept = rules.filter((rule) => "include" in rule || !wanted.has(rule.domain.toLowerCase()));
  if (action === null && kept.length === rules.length) {
    throw new CliError(`no rule is about ${domains.join(", ")}`, {
      code: "not_found",
      hint: "sprite policy network show",
    });
  }
  const added: NetworkRule[] = action === null ? [] : domains.map((domain) => ({ domain, action }));
  return await writePolicy(cli, "network", { rules: [...added, ...kept] });
}

/** A new policy comes either from a file or from flags. */
async function oneSource(cli: Cli, fromFlags: PolicyObject | undefined): Promise<PolicyObject> {
  const fromFile = await policyFromFile(cli);
  if (fromFile !== undefined && fromFlags !== undefined) {
    throw new CliError("give either --policy-file or the policy's parts", { code: "usage" });
  }
  const policy = fromFile ?? fromFlags;
  if (policy !== undefined) return policy;
  throw new CliError("no policy was given", {
    code: "usage",
    hint: "`--help` lists the options; `clear` takes the policy away.",
  });
}

function showFields(cli: Cli, policy: PolicyObject): number {
  if (cli.isJson) cli.printJson(policy);
  else {
    const fields = flatten(policy);
    if (fields.length === 0) cli.print("No policy: what the server gives each.\n");
    else cli.print(formatFields(fields.map(([key, value]) => [printable(key), printable(value)])));
  }
  return 0;
}

function flatten(value: PolicyObject, prefix = ""): [string, string][] {
  return Object.entries(value).flatMap(([key, field]): [string, string][] => {
    const isObject = typeof field === "object" && field !== null && !Array.isArray(field);
    if (isObject) return flatten(field as PolicyObject, `${prefix}${key}.`);
    const shown = Array.isArray(field) ? field.join(", ") || "none" : String(field);
    return [[prefix + key, shown]];
  });
}

function megabytes(text: string): number {
  const match = /^(\d+(?:\.\d+)?)([MG])i?B?$/i.exec(text);
  if (match === null)
    throw new CliError("--memory takes a size such as 512M or 2G", { code: "usage" });
  return Math.round(Number(match[1]) * (match[2]?.toUpperCase() === "G" ? 1024 : 1));
}

function numberOf(text: string, option: string): number {
  const value = Number(text);
  if (text.trim() !== "" && Number.isFinite(value)) return value;
  throw new CliError(`${option} takes a number`, { code: "usage" });
}
