/**
 * Which names a sprite may look up. Pure.
 *
 * Of the rules that match, the most exact counts: a name, then the longest `*.domain`, then `*`.
 * What the owner wrote counts before an included list, except for `*`; of two rules for the same
 * domain the one that denies. Without a matching rule, a policy that allows something denies the
 * rest, and one that only denies allows the rest.
 */
import { normalizeDomain } from "../../contract/domain.ts";
import type { NetworkAction, NetworkPolicy } from "../../contract/policy.ts";

export interface Decision {
  action: NetworkAction;
  /** How much of the name the rule leaves open, in characters: 0 for a rule that names it. */
  openLength: number;
}

export interface DomainLists {
  /** What `include: defaults` stands for, as the domains of rules. */
  defaults: readonly string[];
  /** Names under which others resolve names: denied unless a rule names them exactly. */
  resolvers: readonly string[];
}

export class DomainRules {
  readonly #own: DomainTable;
  readonly #included: DomainTable;
  readonly #resolvers: DomainTable;
  readonly #rest: NetworkAction;

  constructor(policy: NetworkPolicy, lists: DomainLists) {
    this.#own = new DomainTable();
    this.#included = new DomainTable();
    this.#resolvers = new DomainTable();
    for (const domain of lists.resolvers) this.#resolvers.add(domain, "deny");
    for (const rule of policy.rules) {
      if ("include" in rule) {
        for (const domain of lists.defaults) this.#included.add(domain, "allow");
      } else {
        this.#own.add(rule.domain, rule.action);
      }
    }
    const allowsSome = policy.rules.some((rule) => "include" in rule || rule.action === "allow");
    this.#rest = allowsSome ? "deny" : "allow";
  }

  /** The name in lower case, without a final dot. */
  decide(name: string): Decision {
    return (
      this.#own.exact(name) ??
      this.#resolvers.find(name) ??
      this.#own.below(name) ??
      this.#included.find(name) ?? {
        action: this.#own.everything ?? this.#rest,
        openLength: name.length,
      }
    );
  }

  /**
   * True for a name that must not be reached by a detour either, as another name's alias: one that a
   * rule denies, rather than one that no rule allows.
   */
  isForbidden(name: string): boolean {
    const decision = this.#own.exact(name) ?? this.#resolvers.find(name) ?? this.#own.below(name);
    return decision?.action === "deny";
  }
}

class DomainTable {
  readonly #exact = new Map<string, NetworkAction>();
  readonly #below = new Map<string, NetworkAction>();
  everything: NetworkAction | null = null;

  add(rule: string, action: NetworkAction): void {
    const domain = normalizeDomain(rule);
    if (domain === null) return;
    if (domain === "*") {
      if (this.everything !== "deny") this.everything = action;
      return;
    }
    const [table, key] = domain.startsWith("*.")
      ? [this.#below, domain.slice(2)]
      : [this.#exact, domain];
    if (table.get(key) !== "deny") table.set(key, action);
  }

  find(name: string): Decision | null {
    return this.exact(name) ?? this.below(name);
  }

  exact(name: string): Decision | null {
    const action = this.#exact.get(name);
    return action === undefined ? null : { action, openLength: 0 };
  }

  below(name: string): Decision | null {
    if (this.#below.size === 0) return null;
    for (let dot = name.indexOf("."); dot >= 0; dot = name.indexOf(".", dot + 1)) {
      const action = this.#below.get(name.slice(dot + 1));
      if (action !== undefined) return { action, openLength: dot };
    }
    return null;
  }
}
