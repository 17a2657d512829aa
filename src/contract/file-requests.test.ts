import assert from "node:assert/strict";
import { test } from "node:test";

import { FileError } from "./file-error.ts";
import {
  parseChangeModeRequest,
  parseChangeOwnerRequest,
  parseListRequest,
  parseRangeHeader,
  parseReadRequest,
  parseWatchRequest,
  parseWriteRequest,
} from "./file-requests.ts";

const invalid = { name: "FileError", code: "EINVAL" };

test("a path is absolute, joined to its working directory, and without dots", () => {
  const path = (args: Record<string, unknown>): string => parseReadRequest(args).path;
  assert.equal(path({ path: "a" }), "/a");
  assert.equal(path({ path: "a", workingDir: "/x" }), "/x/a");
  assert.equal(path({ path: "/a", workingDir: "/x" }), "/a");
  assert.equal(path({ path: "../../../b/./c/", workingDir: "/x/y" }), "/b/c");
  assert.equal(path({ path: "a", workingDir: "x" }), "/x/a");
  for (const args of [
    {},
    { path: "" },
    { path: 1 },
    { path: "a\0" },
    { path: "a", workingDir: [] },
  ]) {
    assert.throws(() => path(args), invalid);
  }
  assert.throws(() => path({ path: "a/".repeat(3000) }), { code: "ENAMETOOLONG" });
});

test("a part of a file", () => {
  const range = (args: Record<string, unknown>) => parseReadRequest({ path: "a", ...args }).range;
  assert.equal(range({}), null);
  assert.deepEqual(range({ start: "5" }), { start: 5, end: null });
  assert.deepEqual(range({ start: "5", end: "7" }), { start: 5, end: 7 });
  assert.throws(() => range({ start: "7", end: "5" }), invalid);
  assert.throws(() => range({ start: "-1" }), invalid);
  assert.deepEqual(parseRangeHeader("bytes=0-0"), { start: 0, end: 1 });
  assert.deepEqual(parseRangeHeader("bytes=-5"), { last: 5 });
  assert.equal(parseRangeHeader("bytes=5-1"), null);
  assert.equal(parseRangeHeader(undefined), null);
});

test("modes and owners in every form that clients send", () => {
  const mode = (value: unknown): number => parseChangeModeRequest({ path: "a", mode: value }).mode;
  assert.deepEqual(["0755", "755", "0o755", 493].map(mode), [493, 493, 493, 493]);
  for (const wrong of ["8", "rwx", -1, 1.5, 0o10000, undefined, "777777"]) {
    assert.throws(() => mode(wrong), invalid);
  }
  const owner = (uid: unknown) => parseChangeOwnerRequest({ path: "a", uid }).uid;
  assert.deepEqual([owner(0), owner("1000"), owner("www-data")], [0, 1000, "www-data"]);
  for (const wrong of [-1, 65_536, "a b", "", null, {}]) assert.throws(() => owner(wrong), invalid);
});

test("parents of a new file", () => {
  const parents = (args: Record<string, unknown>) =>
    parseWriteRequest({ path: "/a/.keep", ...args }).parents;
  assert.equal(parents({}), "all");
  assert.equal(parents({ mkdirParents: "true" }), "all");
  assert.equal(parents({ mkdirParents: "false" }), "one");
  assert.equal(parseWriteRequest({ path: "/a/b", mkdir: "0" }).parents, "none");
});

test("patterns and watched paths have a maximum", () => {
  assert.throws(() => parseListRequest({ path: "a", pattern: "x".repeat(256) }), invalid);
  const paths = Array.from({ length: 257 }, String);
  assert.throws(() => parseWatchRequest({ paths }), invalid);
  assert.throws(() => parseWatchRequest({ paths: [] }), invalid);
  assert.deepEqual(parseWatchRequest({ paths: ["a"], workingDir: "/w" }).paths, ["/w/a"]);
});

test("errors use the system's words, each phrase for its own code only", () => {
  const texts = ["EISDIR", "ENOTDIR", "EACCES", "ENOTEMPTY", "EWHATEVER"].map(
    (code) => new FileError(code, { verb: "open", path: "/a" }).message,
  );
  assert.deepEqual(texts, [
    "open /a: is a directory",
    "open /a: not a directory",
    "open /a: permission denied",
    "open /a: directory not empty",
    "open /a: input/output error (EWHATEVER)",
  ]);
});
