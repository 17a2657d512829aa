/** What a sprite may reach, do and use, as its owner sets it (contract.md section 8). */

import { z } from "zod";

import {
  cpuCoresPolicyMin,
  domainLengthMax,
  memoryPolicyMbMin,
  networkRulesMax,
  policyDevicesMax,
  processesPolicyMin,
} from "./limits.ts";
import { normalizeDomain } from "./domain.ts";

export type NetworkAction = "allow" | "deny";

export type NetworkRule =
  /** A domain, `*.domain` (every name below it, not itself) or `*`. */
  | { domain: string; action: NetworkAction }
  /** Allows the domains of a list that the server has. */
  | { include: "defaults" };

/** No rules: everything that is not blocked for all. */
export interface NetworkPolicy {
  rules: NetworkRule[];
}

const privilegeProfiles = ["", "minimal", "standard", "privileged"] as const;
export type PrivilegeProfile = (typeof privilegeProfiles)[number];

/** The character devices that programs expect; any of them can be taken away but `null`. */
const policyDevices = ["null", "zero", "full", "random", "urandom", "tty"] as const;

/** Counts from the next start of the sprite's container. What is absent is as the server has it. */
export interface PrivilegesPolicy {
  profile?: PrivilegeProfile;
  /** The only devices that are there; absent: all that programs expect. */
  devices?: string[];
  noNewPrivileges?: boolean;
}

/** Counts at once. What is absent is the server's own limit, which no policy exceeds. */
export interface ResourcesPolicy {
  /** `autoscale`: the sprite may have more, up to the server's limit, while the machine has it to spare. */
  memory?: { limit_mb: number; autoscale?: boolean };
  cpu?: { limit_cores: number };
  pids?: { limit: number };
}

export interface SpritePolicy {
  network: NetworkPolicy;
  privileges: PrivilegesPolicy;
  resources: ResourcesPolicy;
}

export type PolicyKind = keyof SpritePolicy;

export function noPolicy(): SpritePolicy {
  return { network: { rules: [] }, privileges: {}, resources: {} };
}

const domainSchema = z
  .string("expected a string")
  .max(domainLengthMax, `at most ${domainLengthMax} characters`)
  .refine(
    (domain) => normalizeDomain(domain) !== null,
    "expected a domain name, *.domain or *; addresses are allowed by their names only",
  );

const ruleSchema: z.ZodType<NetworkRule> = z
  .object(
    {
      domain: domainSchema.nullish(),
      action: z.enum(["allow", "deny"], "expected allow or deny").nullish(),
      include: z.enum(["defaults"], "unknown list: there is defaults").nullish(),
    },
    "expected an object",
  )
  .transform((rule, context) => {
    const { domain, action, include } = rule;
    const problem = ruleProblem(rule);
    if (problem !== null) {
      context.issues.push({ code: "custom", message: problem, input: rule });
      return z.NEVER;
    }
    if (typeof include === "string") return { include };
    return { domain: domain ?? "", action: action ?? "allow" };
  });

function ruleProblem(
  rule: Partial<Record<"domain" | "action" | "include", unknown>>,
): string | null {
  const hasDomain = typeof rule.domain === "string";
  const hasInclude = typeof rule.include === "string";
  if (hasDomain && hasInclude) return "expected either domain or include, not both";
  if (!hasDomain && !hasInclude) return "expected domain or include";
  if (hasDomain && typeof rule.action !== "string") return "action: expected allow or deny";
  if (hasInclude && rule.action === "deny") return "an included list can only be allowed";
  return null;
}

export const networkPolicySchema: z.ZodType<NetworkPolicy> = z.object(
  {
    rules: z
      .array(ruleSchema, "expected an array of rules")
      .max(networkRulesMax, `at most ${networkRulesMax} rules`),
  },
  "expected an object",
);

export const privilegesPolicySchema: z.ZodType<PrivilegesPolicy> = z
  .object(
    {
      profile: z
        .enum(privilegeProfiles, "expected minimal, standard, privileged or an empty string")
        .nullish(),
      devices: z
        .array(
          z.enum(policyDevices, `known devices: ${policyDevices.join(", ")}`),
          "expected an array",
        )
        .max(policyDevicesMax, `at most ${policyDevicesMax} devices`)
        .nullish(),
      noNewPrivileges: z.boolean("expected true or false").nullish(),
    },
    "expected an object",
  )
  .transform(({ profile, devices, noNewPrivileges }) => ({
    ...(typeof profile === "string" ? { profile } : {}),
    ...(Array.isArray(devices) ? { devices } : {}),
    ...(typeof noNewPrivileges === "boolean" ? { noNewPrivileges } : {}),
  }));

const memorySchema = z
  .object(
    {
      limit_mb: z
        .int("expected a whole number")
        .min(memoryPolicyMbMin, `at least ${memoryPolicyMbMin}`),
      autoscale: z.boolean("expected true or false").nullish(),
    },
    "expected an object",
  )
  .transform(({ limit_mb, autoscale }) =>
    typeof autoscale === "boolean" ? { limit_mb, autoscale } : { limit_mb },
  );

export const resourcesPolicySchema: z.ZodType<ResourcesPolicy> = z
  .object(
    {
      memory: memorySchema.nullish(),
      cpu: z
        .object(
          {
            limit_cores: z
              .number("expected a number")
              .min(cpuCoresPolicyMin, `at least ${cpuCoresPolicyMin}`),
          },
          "expected an object",
        )
        .nullish(),
      pids: z
        .object(
          {
            limit: z
              .int("expected a whole number")
              .min(processesPolicyMin, `at least ${processesPolicyMin}`),
          },
          "expected an object",
        )
        .nullish(),
    },
    "expected an object",
  )
  .transform(({ memory, cpu, pids }) => ({
    ...(memory ? { memory } : {}),
    ...(cpu ? { cpu } : {}),
    ...(pids ? { pids } : {}),
  }));

/** As an archive has it. */
export const spritePolicySchema: z.ZodType<SpritePolicy> = z.object(
  {
    network: networkPolicySchema,
    privileges: privilegesPolicySchema,
    resources: resourcesPolicySchema,
  },
  "expected an object",
);
