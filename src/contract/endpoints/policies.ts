/** What a sprite may reach, do and use. None of these wakes it. */
import type { z } from "zod";

import {
  networkPolicySchema,
  privilegesPolicySchema,
  resourcesPolicySchema,
  type PolicyKind,
} from "../policy.ts";
import { json, named, type Endpoint } from "./endpoint.ts";

const examples = {
  network: {
    rules: [
      { include: "defaults" },
      { domain: "*.example.com", action: "allow" },
      { domain: "private.example.com", action: "deny" },
    ],
  },
  privileges: { profile: "minimal", noNewPrivileges: true },
  resources: { memory: { limit_mb: 512 } },
};

const schemas: Readonly<Record<PolicyKind, z.ZodType>> = {
  network: named("NetworkPolicy", networkPolicySchema),
  privileges: named("PrivilegesPolicy", privilegesPolicySchema),
  resources: named("ResourcesPolicy", resourcesPolicySchema),
};

const path = (kind: PolicyKind): string => `/v1/sprites/{name}/policy/${kind}`;

function get(kind: PolicyKind, summary: string, text: string): Endpoint {
  return {
    method: "GET",
    path: path(kind),
    summary,
    text,
    answers: { 200: json(schemas[kind], examples[kind]) },
    errors: ["unavailable"],
  };
}

function set(kind: PolicyKind, summary: string): Endpoint {
  return {
    method: "POST",
    path: path(kind),
    summary,
    body: json(schemas[kind], examples[kind]),
    answers: { 204: null },
    errors: ["unavailable", "conflict", "storage_failure"],
  };
}

function remove(kind: PolicyKind, summary: string): Endpoint {
  return {
    method: "DELETE",
    path: path(kind),
    summary,
    answers: { 204: null },
    errors: ["unavailable", "storage_failure"],
  };
}

export const policyEndpoints: readonly Endpoint[] = [
  get("network", "Which names the sprite may reach", "As it was set; no rules: no restriction."),
  set("network", "Set which names the sprite may reach; it holds when the answer comes"),
  get(
    "privileges",
    "What root inside may do",
    "`pendingRestart: true` when what runs was started with another policy.",
  ),
  set("privileges", "Set what root inside may do, from the next start of the sprite's container"),
  remove("privileges", "Give root inside back what it has without a policy"),
  get("resources", "How much the sprite may use", "What is absent is as the server has it."),
  set("resources", "Set how much the sprite may use; it holds when the answer comes"),
  remove("resources", "Let the sprite use what the server gives each"),
];
