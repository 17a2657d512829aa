/** The lists that are data and not code: one entry a line, `#` begins a comment. */
import { readFileSync } from "node:fs";
import { isIPv4 } from "node:net";

import type { DomainLists } from "./domain-rules.ts";

export function domainLists(): DomainLists & { resolverAddresses: readonly string[] } {
  const resolvers = readList("known-resolvers.txt");
  return {
    defaults: readList("default-domains.txt"),
    resolvers: resolvers.filter((entry) => !isIPv4(entry)),
    resolverAddresses: resolvers.filter((entry) => isIPv4(entry)),
  };
}

function readList(file: string): string[] {
  const text = readFileSync(new URL(file, import.meta.url), "utf8");
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
}
