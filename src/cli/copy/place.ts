import { CliError } from "../errors.ts";

/** One side of a copy: a path here, or one in a sprite. */
export type Place =
  | { kind: "local"; path: string }
  | { kind: "stdio" }
  /** An empty name means the sprite that commands here mean. */
  | { kind: "remote"; sprite: string; path: string };

/** `NAME:PATH` and `:PATH` are in a sprite, `-` is stdin or stdout, anything else is here. */
export function parsePlace(text: string): Place {
  if (text === "-") return { kind: "stdio" };
  const match = /^([a-z0-9][a-z0-9-]*)?:(.*)$/s.exec(text);
  if (match === null) return { kind: "local", path: text };
  return { kind: "remote", sprite: match[1] ?? "", path: homePath(match[2] ?? "") };
}

/** A relative path, and `~`, begin at the home directory, as the working directory of the API's calls does. */
function homePath(path: string): string {
  if (path === "" || path === "~" || path === "~/") return ".";
  return path.startsWith("~/") ? path.slice(2) : path;
}

/** `SOURCE:DEST` of `exec --file`; the last colon separates. */
export function parseFileOption(text: string): { source: string; dest: string } {
  const at = text.lastIndexOf(":");
  const source = text.slice(0, at);
  const dest = text.slice(at + 1);
  if (at > 0 && dest !== "") return { source, dest: homePath(dest) };
  throw new CliError(`--file ${JSON.stringify(text)} is not SOURCE:DEST`, {
    code: "usage",
    hint: "For example: --file ./setup.sh:/tmp/setup.sh",
  });
}
