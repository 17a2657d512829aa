/** What clients ask of a sprite's files (contract.md section 7), checked by hand: the agent reads it. */
import { posix } from "node:path";

import { FileError } from "./file-error.ts";
import { filePathBytesMax, fileNamePatternLengthMax, watchedPathsMax } from "./limits.ts";

/** Query parameters, or the fields of a JSON body: the names are the same. */
export type FileArguments = Readonly<Record<string, unknown>>;

/** Every name that any of the calls knows. */
export const fileArgumentNames: readonly string[] = [
  ...["path", "workingDir", "mode", "mkdirParents", "mkdir", "asRoot", "recursive", "pattern"],
  ...["source", "dest", "preserveAttrs", "uid", "gid", "start", "end"],
];

/** Bytes of a file: from `start` up to, not including, `end`; or the last ones. */
export type ByteRange = { start: number; end: number | null } | { last: number };

/** All paths here are absolute and normalised. */
export interface ReadRequest {
  path: string;
  range: ByteRange | null;
}

export interface WriteRequest {
  path: string;
  /** Null: that of the file it replaces, else 0644. */
  mode: number | null;
  /** Which directories above the file are made when they are missing. */
  parents: "all" | "one" | "none";
  asRoot: boolean;
}

export interface ListRequest {
  path: string;
  recursive: boolean;
  /** A glob on names: `*`, `?` and `[…]`. */
  pattern: string | null;
}

export interface RemoveRequest {
  path: string;
  recursive: boolean;
}

export interface RenameRequest {
  source: string;
  dest: string;
}

export interface CopyRequest {
  source: string;
  dest: string;
  recursive: boolean;
  preservesAttributes: boolean;
  asRoot: boolean;
}

export interface ChangeModeRequest {
  path: string;
  mode: number;
  recursive: boolean;
}

/** Numbers, or names of the sprite's own /etc/passwd and /etc/group; null leaves it as it is. */
export interface ChangeOwnerRequest {
  path: string;
  uid: number | string | null;
  gid: number | string | null;
  recursive: boolean;
}

export interface WatchRequest {
  paths: readonly string[];
  recursive: boolean;
}

const ownerIdMax = 65_535;

/** @throws FileError EINVAL, ENAMETOOLONG; so do all of these */
export function parseReadRequest(args: FileArguments): ReadRequest {
  const start = integer(args, "start");
  const end = integer(args, "end");
  const path = pathOf(args, "path");
  if (end !== null && end < (start ?? 0)) throw invalid(path, "end comes before start");
  return { path, range: start === null && end === null ? null : { start: start ?? 0, end } };
}

export function parseWriteRequest(args: FileArguments): WriteRequest {
  const path = pathOf(args, "path");
  return { path, mode: modeOf(args, path), parents: parentsOf(args, path), asRoot: asRoot(args) };
}

/**
 * Absent means all. Clients without a call for it make a directory by writing a marker into it: when they
 * do not want its parents, only the marker's own directory is made (contract.md section 7.5).
 */
function parentsOf(args: FileArguments, path: string): WriteRequest["parents"] {
  const wanted = args["mkdirParents"] ?? args["mkdir"];
  if (absent(wanted) || isTrue(wanted)) return "all";
  return posix.basename(path) === ".keep" ? "one" : "none";
}

export function parseListRequest(args: FileArguments): ListRequest {
  const path = pathOf(args, "path");
  const pattern = absent(args["pattern"]) ? null : args["pattern"];
  if (pattern !== null && typeof pattern !== "string") throw invalid(path, "pattern is no text");
  if (pattern !== null && pattern.length > fileNamePatternLengthMax) {
    throw invalid(path, `pattern is longer than ${fileNamePatternLengthMax} characters`);
  }
  return { path, recursive: isTrue(args["recursive"]), pattern };
}

export function parseRemoveRequest(args: FileArguments): RemoveRequest {
  return { path: pathOf(args, "path"), recursive: isTrue(args["recursive"]) };
}

export function parseRenameRequest(args: FileArguments): RenameRequest {
  return { source: pathOf(args, "source"), dest: pathOf(args, "dest") };
}

export function parseCopyRequest(args: FileArguments): CopyRequest {
  return {
    source: pathOf(args, "source"),
    dest: pathOf(args, "dest"),
    recursive: isTrue(args["recursive"]),
    preservesAttributes: isTrue(args["preserveAttrs"]),
    asRoot: asRoot(args),
  };
}

export function parseChangeModeRequest(args: FileArguments): ChangeModeRequest {
  const path = pathOf(args, "path");
  const mode = modeOf(args, path);
  if (mode === null) throw invalid(path, "mode is missing");
  return { path, mode, recursive: isTrue(args["recursive"]) };
}

export function parseChangeOwnerRequest(args: FileArguments): ChangeOwnerRequest {
  const path = pathOf(args, "path");
  const uid = ownerOf(args, "uid", path);
  const gid = ownerOf(args, "gid", path);
  if (uid === null && gid === null) throw invalid(path, "uid or gid is required");
  return { path, uid, gid, recursive: isTrue(args["recursive"]) };
}

/** @param fields of the message `subscribe` or `unsubscribe` */
export function parseWatchRequest(fields: FileArguments): WatchRequest {
  const { paths } = fields;
  if (!Array.isArray(paths) || paths.length === 0) throw invalid("", "paths is no list of paths");
  if (paths.length > watchedPathsMax) throw invalid("", `more than ${watchedPathsMax} paths`);
  const { workingDir } = fields;
  return {
    paths: paths.map((path: unknown) => pathOf({ path, workingDir }, "path")),
    recursive: isTrue(fields["recursive"]),
  };
}

/** The one range of a `Range` header; null for what may be ignored: other units, several ranges. */
export function parseRangeHeader(text: string | undefined): ByteRange | null {
  const match = /^bytes=(\d*)-(\d*)$/.exec(text?.replaceAll(" ", "") ?? "");
  if (match === null) return null;
  const [, from = "", to = ""] = match;
  if (from === "") return to === "" ? null : { last: Number(to) };
  // The header's end is the last byte itself.
  if (to === "") return { start: Number(from), end: null };
  return Number(to) < Number(from) ? null : { start: Number(from), end: Number(to) + 1 };
}

/** The absolute path that a path and its working directory mean. @throws FileError */
function pathOf(args: FileArguments, name: string): string {
  const path = args[name];
  const workingDirectory = absent(args["workingDir"]) ? "/" : args["workingDir"];
  if (typeof path !== "string" || path === "") throw invalid("", `${name} is missing`);
  if (typeof workingDirectory !== "string") throw invalid(path, "workingDir is no text");
  if (`${path}${workingDirectory}`.includes("\0")) {
    throw invalid(path.replaceAll("\0", "\\0"), "a path has no NUL");
  }
  const absolute = posix.resolve("/", workingDirectory, path);
  if (Buffer.byteLength(absolute) > filePathBytesMax) {
    throw new FileError("ENAMETOOLONG", { verb: "open", path: absolute.slice(0, 200) });
  }
  return absolute;
}

/** Octal text, or the number itself (contract.md section 15). */
function modeOf(args: FileArguments, path: string): number | null {
  const value = args["mode"];
  if (absent(value)) return null;
  const mode =
    typeof value === "string" && /^(?:0o?)?[0-7]{1,5}$/.test(value)
      ? Number.parseInt(value.replace("o", ""), 8)
      : value;
  if (typeof mode !== "number" || !Number.isInteger(mode) || mode < 0 || mode > 0o7777) {
    throw invalid(path, "mode is not octal permission bits such as 0644");
  }
  return mode;
}

function ownerOf(args: FileArguments, name: string, path: string): number | string | null {
  const value = args[name];
  if (absent(value)) return null;
  const id = typeof value === "string" && /^\d{1,9}$/.test(value) ? Number(value) : value;
  if (typeof id === "number" && Number.isInteger(id) && id >= 0 && id <= ownerIdMax) return id;
  if (typeof id === "string" && /^[a-z_][\w.-]{0,31}\$?$/i.test(id)) return id;
  throw invalid(path, `${name} is neither a name nor a number from 0 to ${ownerIdMax}`);
}

function integer(args: FileArguments, name: string): number | null {
  const value = args[name];
  if (absent(value)) return null;
  const number = typeof value === "string" && /^\d{1,16}$/.test(value) ? Number(value) : value;
  if (typeof number === "number" && Number.isSafeInteger(number) && number >= 0) return number;
  throw invalid("", `${name} is no number of bytes`);
}

function asRoot(args: FileArguments): boolean {
  return isTrue(args["asRoot"]);
}

/** Queries say it in text, bodies in JSON. */
function isTrue(value: unknown): boolean {
  return value === true || value === "true" || value === "1" || value === 1;
}

function absent(value: unknown): value is undefined | null | "" {
  return value === undefined || value === null || value === "";
}

function invalid(path: string, reason: string): FileError {
  return new FileError("EINVAL", { verb: "request", path, reason });
}
