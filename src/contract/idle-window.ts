/** How long nothing may go on in a sprite before it is suspended, as its user sets it. */
import { z } from "zod";
import { parseDuration } from "./duration.ts";
import { idleWindowMsMax, idleWindowMsMin } from "./limits.ts";

/** Milliseconds; `off`: it is never suspended; `default`: what the server is set to. */
export type IdleWindow = number | "off" | "default";

/** What counts where the server is set to that: ms, or null for never. */
export function resolveIdleWindow(window: IdleWindow, serversMs: number | null): number | null {
  if (window === "off") return null;
  return window === "default" ? serversMs : window;
}

const units: readonly [string, number][] = [
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1_000],
  ["ms", 1],
];

/** As `idleWindowSchema` reads it: `1h30m`, `off`, `default`. */
export function formatIdleWindow(window: IdleWindow): string {
  if (typeof window === "string") return window;
  let left = window;
  let text = "";
  for (const [unit, unitMs] of units) {
    const count = Math.floor(left / unitMs);
    if (count > 0) text += `${count}${unit}`;
    left -= count * unitMs;
  }
  return text;
}

const range = "expected a duration of 1s to 720h, such as 5m, or off, or default";

/** A duration as Go writes it, or a number of seconds; `off`; `default`. */
export const idleWindowSchema: z.ZodType<IdleWindow> = z
  .union([z.string(), z.number()], range)
  .transform((value, context) => {
    if (value === "default" || value === "off") return value;
    const ms = typeof value === "number" ? value * 1_000 : parseDuration(value);
    if (ms !== null && ms >= idleWindowMsMin && ms <= idleWindowMsMax) return Math.round(ms);
    context.issues.push({ code: "custom", message: range, input: value });
    return z.NEVER;
  });
