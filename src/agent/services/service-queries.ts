/** What looking at services takes and says besides their objects, whether they run or sleep. */
import { SpriteError } from "../../contract/errors.ts";
import { logLinesDefault, logLinesMax, problemLengthMax } from "./limits.ts";

/** Says what was wrong with the definitions that were found. */
export const problemHeader = "X-Sprite-Services-Problem";

/** The guest may have put any text into it. */
export function problemHeaderText(text: string): string {
  return encodeURI(text.slice(0, problemLengthMax).toWellFormed());
}

/** @throws SpriteError invalid_request */
export function parseLines(text: string | null): number {
  if (text === null) return logLinesDefault;
  if (/^[0-9]{1,9}$/.test(text)) return Math.min(Number(text), logLinesMax);
  throw new SpriteError("invalid_request", "lines is not a number");
}
