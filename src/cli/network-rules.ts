import { normalizeDomain } from "../contract/domain.ts";
import type { NetworkRule } from "../contract/policy.ts";

export interface RuleVerdict {
  /** Null: it depends on what is in the list, which the server has. */
  action: "allow" | "deny" | null;
  reason: string;
}

/**
 * Which rule a name falls under, by the order of contract.md section 8.1: the name itself, the longest
 * `*.domain` above it, an included list, `*`, and what is left.
 */
export function judgeName(rules: readonly NetworkRule[], name: string): RuleVerdict {
  const own = rules.filter((rule) => "domain" in rule);
  const find = (domain: string): RuleVerdict | null => {
    const matching = own.filter((rule) => normalizeDomain(rule.domain) === domain);
    // Of two rules for the same domain the one that denies counts.
    const rule = matching.find(({ action }) => action === "deny") ?? matching[0];
    if (rule === undefined) return null;
    return { action: rule.action, reason: `the rule for ${rule.domain}` };
  };
  const above = name
    .split(".")
    .slice(1)
    .map((_, index, labels) => `*.${labels.slice(index).join(".")}`);
  for (const domain of [name, ...above]) {
    const verdict = find(domain);
    if (verdict !== null) return verdict;
  }
  if (rules.some((rule) => "include" in rule)) {
    const reason = "no rule of its own: allowed if the list `defaults` has it";
    return { action: find("*")?.action === "allow" ? "allow" : null, reason };
  }
  const everything = find("*");
  if (everything !== null) return everything;
  if (rules.length === 0) return { action: "allow", reason: "there are no rules" };
  return rules.some((rule) => "domain" in rule && rule.action === "allow")
    ? { action: "deny", reason: "no rule allows it, and others are allowed" }
    : { action: "allow", reason: "no rule denies it" };
}
