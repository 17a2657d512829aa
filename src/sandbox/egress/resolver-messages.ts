/** What the gateway and its resolver's thread tell each other. */
import type { LogLevel } from "../../base/log.ts";
import type { NetworkPolicy } from "../../contract/policy.ts";
import type { GatewayPort } from "./policy-rules.ts";
import type { ResolverTarget } from "./upstream.ts";

/** What the thread begins with. */
export interface ResolverPlace {
  /** The gateway's network namespace. */
  namespacePath: string;
  address: string;
  upstream: ResolverTarget | null;
  logLevel: LogLevel;
}

/** What is to hold for one sprite. */
export interface PortPolicy {
  spriteId: string;
  port: GatewayPort;
  policy: NetworkPolicy;
}

export type ResolverOrder =
  | ({ type: "set"; order: number; again: boolean } & PortPolicy)
  | { type: "forget"; order: number; port: GatewayPort };

export type ResolverReport =
  | { type: "ready" }
  /** Null: it holds. */
  | { type: "done"; order: number; error: string | null };
