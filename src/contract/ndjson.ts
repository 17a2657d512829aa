/** One JSON object a line (contract.md section 0). */

import { ndjsonLineSizeBytesMax } from "./limits.ts";

export const ndjsonContentType = "application/x-ndjson";

/**
 * A line ready to be written. `JSON.stringify` escapes line ends inside of strings, so a line never
 * breaks. An object whose line is too long for Go's scanner has its longest text cut: a shortened
 * message reaches everybody, an overlong line ends the stream for some.
 */
export function encodeNdjsonLine(value: Readonly<Record<string, unknown>>): string {
  const line = `${JSON.stringify(value)}\n`;
  if (Buffer.byteLength(line) <= ndjsonLineSizeBytesMax) return line;
  return `${JSON.stringify(shortened(value))}\n`;
}

/** Cuts strings to what fits even if every character takes the six bytes of a `\uXXXX` escape. */
function shortened(value: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const entries = Object.entries(value);
  const lengthMax = Math.floor(ndjsonLineSizeBytesMax / 6 / (entries.length + 1)) - 64;
  const kept: Record<string, unknown> = {};
  for (const [key, field] of entries) {
    if (typeof field === "string") kept[key] = field.slice(0, lengthMax);
    else if (typeof field !== "object" || field === null) kept[key] = field;
  }
  return kept;
}
