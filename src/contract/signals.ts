import { constants } from "node:os";

const signals: ReadonlyMap<string, number> = new Map(Object.entries(constants.signals));
const longestNameLength = 16;

/**
 * Reads a signal as clients write it: with or without `SIG`, in any case, or as a number
 * (contract.md section 3.4). Null for what is no signal of Linux.
 */
export function parseSignal(value: unknown): NodeJS.Signals | null {
  if (typeof value === "number") return signalOfNumber(value);
  if (typeof value !== "string" || value.length > longestNameLength) return null;
  if (/^[0-9]+$/.test(value)) return signalOfNumber(Number(value));
  const upper = value.toUpperCase();
  const name = upper.startsWith("SIG") ? upper : `SIG${upper}`;
  return isSignalName(name) ? name : null;
}

function signalOfNumber(number: number): NodeJS.Signals | null {
  for (const [name, value] of signals) {
    if (value === number && isSignalName(name)) return name;
  }
  return null;
}

function isSignalName(name: string): name is NodeJS.Signals {
  return signals.has(name);
}
