import { parseDuration } from "../../contract/duration.ts";
import { SpriteError } from "../../contract/errors.ts";
import { queryParametersMax } from "./limits.ts";

/**
 * Query parameters, decoded strictly: a command whose bytes were guessed would be another command.
 */
export class Query {
  readonly #pairs: ReadonlyArray<readonly [name: string, value: string]>;

  constructor(pairs: ReadonlyArray<readonly [name: string, value: string]>) {
    this.#pairs = pairs;
  }

  /** Reads the part of a URL behind the question mark. @throws SpriteError invalid_request */
  static parse(text: string): Query {
    if (text === "") return new Query([]);
    const parts = text.split("&");
    if (parts.length > queryParametersMax) {
      throw new SpriteError("invalid_request", "too many query parameters", {
        details: { limit: queryParametersMax },
      });
    }
    return new Query(
      parts
        .filter((part) => part !== "")
        .map((part) => {
          const equals = part.indexOf("=");
          if (equals < 0) return [decode(part), ""] as const;
          return [decode(part.slice(0, equals)), decode(part.slice(equals + 1))] as const;
        }),
    );
  }

  /** All values by their names, as a control connection's messages have them. */
  toArguments(): Record<string, string[]> {
    const names = new Set(this.#pairs.map(([name]) => name));
    return Object.fromEntries([...names].map((name) => [name, this.all(name)]));
  }

  has(name: string): boolean {
    return this.#pairs.some(([key]) => key === name);
  }

  all(name: string): string[] {
    return this.#pairs.filter(([key]) => key === name).map(([, value]) => value);
  }

  /** The first value that is not empty, else null: an empty parameter counts as absent. */
  text(name: string): string | null {
    return this.all(name).find((value) => value !== "") ?? null;
  }

  flag(name: string, otherwise: boolean): boolean {
    const value = this.text(name);
    return value === null ? otherwise : value === "true" || value === "1";
  }

  /** Milliseconds; null when absent. @throws SpriteError invalid_request */
  durationMs(name: string): number | null {
    const value = this.text(name);
    if (value === null) return null;
    const durationMs = parseDuration(value);
    if (durationMs !== null) return durationMs;
    throw new SpriteError("invalid_request", `${name} is not a duration such as 30s or 1m30s`);
  }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch (cause) {
    throw new SpriteError("invalid_request", "the query is not valid percent-encoded text", {
      cause,
    });
  }
}
