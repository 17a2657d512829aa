/**
 * What goes wrong with an object store, as a list of rules. Random source and clock are injected, so that a run repeats from its seed.
 */
import type { RequestKind } from "../object-store.ts";

export type Fault =
  /** The store refuses, as S3 does with 503: nothing happened, and the caller knows it. */
  | { kind: "unavailable" }
  /** Takes time by the store's `delay`. Beyond the call's deadline the caller gives up, and a write arrives later all the same. */
  | { kind: "slow"; delayMs: number }
  /** A read, or a list, whose body ends early; the client sees that by its length. */
  | { kind: "truncated" }
  /** The connection breaks before the request arrives. A writer cannot tell that from a lost reply. */
  | { kind: "lost-request"; isReadBack: boolean }
  /** The request takes effect, its reply is lost. With `isReadBack` the store may ask what became of it, as the S3 store does. */
  | { kind: "lost-reply"; isReadBack: boolean }
  /** The reply is lost, and a write takes effect only some requests later: after a read that did not see it. */
  | { kind: "late"; afterRequests: number }
  /** A write that is answered, and delivered once more some requests later. */
  | { kind: "duplicate"; afterRequests: number }
  /** A list that misses the newest changes. */
  | { kind: "stale-list"; changes: number }
  /** Deletes half of the keys, then fails. */
  | { kind: "partial-delete" };

export interface FaultRule {
  fault: Fault;
  /** Requests it is about; all when missing. */
  requests?: readonly RequestKind[];
  /** Keys it is about: an object's, a list's prefix, any of the keys to delete; all when missing. */
  key?: RegExp;
  /** Share of the requests it hits, 0 to 1; all when missing. */
  chance?: number;
  /** Lets so many of its requests pass first. */
  skip?: number;
  /** Hits so many, then never again. An outage has neither `count` nor `chance`. */
  count?: number;
  /** Only from this time on, by the script's clock, and before that one. */
  fromMs?: number;
  untilMs?: number;
}

/** Which faults a request can suffer: a list cannot arrive late. */
const sufferedBy: Readonly<Record<Fault["kind"], readonly RequestKind[]>> = {
  unavailable: ["get", "put", "list", "delete"],
  slow: ["get", "put", "list", "delete"],
  truncated: ["get", "list"],
  "lost-request": ["get", "put", "list", "delete"],
  "lost-reply": ["get", "put", "list", "delete"],
  late: ["put"],
  duplicate: ["put"],
  "stale-list": ["list"],
  "partial-delete": ["delete"],
};

export class FaultScript {
  readonly #random: () => number;
  readonly #now: () => number;
  #rules: Array<{ rule: FaultRule; seen: number; hit: number }> = [];

  constructor(
    rules: readonly FaultRule[],
    { random, now }: { random: () => number; now: () => number },
  ) {
    this.#random = random;
    this.#now = now;
    this.setRules(rules);
  }

  /** Replaces all rules; none ends every fault, except for late writes that are still on their way. */
  setRules(rules: readonly FaultRule[]): void {
    this.#rules = rules.map((rule) => ({ rule, seen: 0, hit: 0 }));
  }

  /** What befalls this request: the first rule that applies to it decides. */
  faultFor(request: RequestKind, keys: readonly string[]): Fault | null {
    for (const state of this.#rules) {
      const { rule } = state;
      if (!this.#matches(rule, request, keys)) continue;
      state.seen++;
      if (state.seen <= (rule.skip ?? 0) || state.hit >= (rule.count ?? Infinity)) continue;
      if (rule.chance !== undefined && this.#random() >= rule.chance) continue;
      state.hit++;
      return rule.fault;
    }
    return null;
  }

  #matches(rule: FaultRule, request: RequestKind, keys: readonly string[]): boolean {
    if (!sufferedBy[rule.fault.kind].includes(request)) return false;
    if (rule.requests !== undefined && !rule.requests.includes(request)) return false;
    const { key: pattern } = rule;
    if (pattern !== undefined && !keys.some((key) => pattern.test(key))) return false;
    const nowMs = this.#now();
    return nowMs >= (rule.fromMs ?? -Infinity) && nowMs < (rule.untilMs ?? Infinity);
  }
}
