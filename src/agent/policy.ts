/** The sprite's policy as its agent holds it: what the next container gets, and what is shown inside. */
import { mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";

import type { Log } from "../base/log.ts";
import type { AgentStartup, SpriteLimits } from "../contract/agent-startup.ts";
import { SpriteError } from "../contract/errors.ts";
import type { PrivilegesPolicy, SpritePolicy } from "../contract/policy.ts";
import { limitsUnderPolicy } from "../contract/resource-limits.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";

export interface PolicyParts {
  startup: Pick<AgentStartup, "limits" | "policy">;
  dotSpriteDirectory: string;
  /** The container there is now. */
  sandbox: () => Sandbox | null;
  log: Log;
}

export class Policy {
  readonly #parts: PolicyParts;
  #policy: SpritePolicy;
  #changes: Promise<unknown> = Promise.resolve();
  /** What each container was made with; one that was taken over is not among them. */
  readonly #limitsOf = new WeakMap<Sandbox, SpriteLimits>();

  constructor(parts: PolicyParts) {
    this.#parts = parts;
    this.#policy = parts.startup.policy;
  }

  get current(): SpritePolicy {
    return this.#policy;
  }

  /** What a container may use now. */
  get limits(): SpriteLimits {
    return limitsUnderPolicy(this.#parts.startup.limits, this.#policy.resources);
  }

  get privileges(): PrivilegesPolicy {
    return this.#policy.privileges;
  }

  /** A container with what the policy says now. */
  make(make: (from: { limits: SpriteLimits; privileges: PrivilegesPolicy }) => Sandbox): Sandbox {
    const { limits, privileges } = this;
    const sandbox = make({ limits, privileges });
    this.#limitsOf.set(sandbox, limits);
    return sandbox;
  }

  /**
   * It runs: what has changed since it was made, or since another agent made it, holds for it too. One of another
   * agent that has no limits of its own is left alone: at worst it goes on with less than it may have by now.
   */
  onContainer(sandbox: Sandbox, { isAdopted }: { isAdopted: boolean }): void {
    if (isAdopted && isSame(this.#policy.resources, {})) return;
    void this.#inTurn(async () => {
      const given = isAdopted ? undefined : this.#limitsOf.get(sandbox);
      if (given === undefined || !isSame(given, this.limits)) await sandbox.setLimits(this.limits);
    }).catch((error: unknown) => {
      this.#parts.log.error({ err: error }, "a container keeps the limits of before");
    });
  }

  isSame(policy: SpritePolicy): boolean {
    return isSame(this.#policy, policy);
  }

  /** The kinds that count only from the next start of the container. */
  pending(): string[] {
    const running = this.#parts.sandbox()?.privileges ?? null;
    if (running === null) return [];
    return JSON.stringify(running) === JSON.stringify(this.privileges) ? [] : ["privileges"];
  }

  /**
   * One after the other. Settles when it holds for what runs.
   * @throws SpriteError conflict: it uses more memory than it is to have; nothing has changed
   */
  async change(policy: SpritePolicy): Promise<void> {
    await this.#inTurn(() => this.#change(policy));
  }

  async #inTurn(work: () => Promise<void>): Promise<void> {
    const turn = this.#changes.catch(() => undefined);
    const change = turn.then(work);
    this.#changes = change;
    await change;
  }

  async #change(policy: SpritePolicy): Promise<void> {
    const before = this.#policy;
    this.#policy = policy;
    const sandbox = this.#parts.sandbox();
    try {
      if (!isSame(before.resources, policy.resources)) await sandbox?.setLimits(this.limits);
    } catch (error) {
      this.#policy = before;
      throw error;
    }
    if (!isSame(before.network, policy.network)) await sandbox?.cutConnections();
    await this.show();
  }

  /** Writes what programs inside may read of it, each file whole or not at all. */
  async show(): Promise<void> {
    const directory = join(this.#parts.dotSpriteDirectory, "policy");
    await mkdir(directory, { recursive: true, mode: 0o755 });
    for (const [kind, value] of Object.entries(this.#policy)) {
      const target = join(directory, `${kind}.json`);
      await writeFile(`${target}.new`, `${JSON.stringify(value)}\n`, { mode: 0o444 });
      await rename(`${target}.new`, target);
    }
  }
}

function isSame(one: object, other: object): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

/** The body that a worker sends. It was checked where it came in: this only tells a policy from none. */
export function parsePolicyBody(body: unknown): SpritePolicy {
  const policy = body as Partial<SpritePolicy> | null;
  const isPolicy =
    Array.isArray(policy?.network?.rules) &&
    typeof policy.privileges === "object" &&
    typeof policy.resources === "object";
  if (isPolicy) return policy as SpritePolicy;
  throw new SpriteError("invalid_request", "expected a policy");
}
