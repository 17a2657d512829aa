/** A sprite's policies over HTTP: `/v1/sprites/{name}/policy/{network,privileges,resources}`. Wakes nobody. */

import type { SpriteLimits } from "../contract/agent-startup.ts";
import { SpriteError } from "../contract/errors.ts";
import {
  networkPolicySchema,
  privilegesPolicySchema,
  resourcesPolicySchema,
  type PolicyKind,
  type ResourcesPolicy,
  type SpritePolicy,
} from "../contract/policy.ts";
import { validate } from "../contract/validate.ts";
import { askAgentHealth } from "./agent-health.ts";
import type { ApiRequest, ApiResult } from "./api.ts";
import { spriteSpec, type SpriteRecord } from "./sprite-record.ts";
import type { Sprites } from "./sprites.ts";

type PolicyRequest = Omit<ApiRequest, "route" | "query"> & { name: string; policy: PolicyKind };

/**
 * @throws SpriteError not_found, invalid_request, unavailable (it is still being created), conflict (it uses
 * more memory than it is to have), storage_failure (the running sprite did not take it; nothing has changed)
 */
export async function handlePolicy(sprites: Sprites, request: PolicyRequest): Promise<ApiResult> {
  const { organization, name, policy, method } = request;
  const sprite = sprites.findReady(organization, name);
  if (method === "GET" || method === "HEAD") {
    return { status: 200, body: await shownPolicy(sprites, sprite, policy) };
  }
  const body = method === "DELETE" ? {} : await request.readBody();
  const change = checkedPolicy(policy, body, sprites.worker.limits);
  await sprites.changePolicy(organization, name, change);
  return { status: 204, body: null };
}

async function shownPolicy(
  sprites: Sprites,
  sprite: SpriteRecord,
  kind: PolicyKind,
): Promise<object> {
  const shown = sprite.policy[kind];
  if (kind !== "privileges" || sprites.isCold(sprite)) return shown;
  const { socketPath } = await sprites.worker.ensureRunning(spriteSpec(sprite));
  const { pending } = await askAgentHealth(socketPath, sprite.name);
  // What runs now was started with others: said, so that nobody takes the wish for the deed.
  return pending?.includes("privileges") === true ? { ...shown, pendingRestart: true } : shown;
}

function checkedPolicy(
  kind: PolicyKind,
  body: unknown,
  limits: SpriteLimits,
): Partial<SpritePolicy> {
  if (kind === "network") return { network: validate(networkPolicySchema, body) };
  if (kind === "privileges") return { privileges: validate(privilegesPolicySchema, body) };
  const resources = validate(resourcesPolicySchema, body);
  assertWithin(resources, limits);
  return { resources };
}

/** @throws SpriteError invalid_request */
function assertWithin({ memory, cpu, pids }: ResourcesPolicy, limits: SpriteLimits): void {
  const memoryMbMax = Math.floor(limits.memoryBytesMax / 2 ** 20);
  const asked: Array<[string, number, number]> = [
    ["memory.limit_mb", memory?.limit_mb ?? 0, memoryMbMax],
    ["cpu.limit_cores", cpu?.limit_cores ?? 0, limits.cpuCoresMax],
    ["pids.limit", pids?.limit ?? 0, limits.pidsMax],
  ];
  for (const [field, value, valueMax] of asked) {
    if (value <= valueMax) continue;
    throw new SpriteError("invalid_request", `${field}: this server gives at most ${valueMax}`);
  }
}
