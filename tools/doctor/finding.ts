/** `fail`: sprites cannot run. `warn`: they can, but somebody should know. */
export type Level = "ok" | "warn" | "fail";

export interface Finding {
  name: string;
  level: Level;
  /** What the machine has, in a few words. */
  found: string;
  /** What to do; there unless all is well. */
  advice?: string;
}

export function ok(name: string, found: string): Finding {
  return { name, level: "ok", found };
}

export function warn(name: string, found: string, advice: string): Finding {
  return { name, level: "warn", found, advice };
}

export function fail(name: string, found: string, advice: string): Finding {
  return { name, level: "fail", found, advice };
}
