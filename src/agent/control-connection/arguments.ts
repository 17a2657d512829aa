import { SpriteError } from "../../contract/errors.ts";
import { Query } from "../api/query.ts";
import { argumentsMax } from "./limits.ts";

/**
 * An operation's arguments as the query that asks for the same on a socket of its own. Clients write
 * flags and numbers as text or as what they are. @throws SpriteError invalid_request
 */
export function queryOfArguments(args: Readonly<Record<string, unknown>>): Query {
  const pairs: Array<readonly [string, string]> = [];
  for (const [name, value] of Object.entries(args)) {
    for (const one of Array.isArray(value) ? (value as unknown[]) : [value]) {
      const text = textOf(one);
      if (text === undefined) throw new SpriteError("invalid_request", `${name} is no plain value`);
      if (text !== null) pairs.push([name, text]);
      if (pairs.length > argumentsMax) {
        throw new SpriteError("invalid_request", "too many arguments", {
          details: { limit: argumentsMax },
        });
      }
    }
  }
  return new Query(pairs);
}

/** Null for a value that counts as absent, undefined for one that is none. */
function textOf(value: unknown): string | null | undefined {
  if (value === null || value === undefined) return null;
  if (typeof value === "string") return value;
  return typeof value === "boolean" || typeof value === "number" ? String(value) : undefined;
}
