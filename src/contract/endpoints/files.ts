/** The files of a sprite (contract.md section 7). */
import { z } from "zod";

import type { FileErrorBody } from "../file-error.ts";
import type { ErrorCode } from "../errors.ts";
import {
  flagSchema,
  json,
  named,
  timeSchema,
  type Content,
  type Endpoint,
  type Parameter,
} from "./endpoint.ts";

const errorSchema: z.ZodType<FileErrorBody> = named(
  "FileError",
  z.object({
    error: z.string().describe("as the system says it: open /app/x: no such file or directory"),
    code: z.string().describe("as in errno(3): ENOENT"),
    path: z.string(),
  }),
);

const modeSchema = z.string().describe("four octal digits");

const entrySchema = named(
  "FileEntry",
  z.object({
    name: z.string(),
    path: z.string(),
    type: z.enum(["file", "directory", "symlink", "other"]),
    size: z.int(),
    mode: modeSchema,
    modTime: timeSchema,
    isDir: z.boolean(),
    target: z.string().optional().describe("where a symbolic link in a directory leads"),
  }),
);

const pairSchema = z.object({ source: z.string(), dest: z.string() });
const countSchema = z.int().describe("of all, also of those that a long list leaves out");
const ownerSchema = z.union([z.int().min(0).max(65_535), z.string()]).nullish();
const flag = z.union([z.boolean(), z.string()]).nullish();
const workingDir = z.string().nullish().describe("what a relative path begins at; / when absent");

const path: Parameter = { name: "path", text: "", schema: z.string(), required: true };
const directory: Parameter = {
  name: "workingDir",
  text: "what a relative path begins at; / when absent",
  schema: z.string(),
};
const asRoot: Parameter = { name: "asRoot", text: "new files are root's", schema: flagSchema };
const recursive: Parameter = {
  name: "recursive",
  text: "with all that is below",
  schema: flagSchema,
};

const refused = json(errorSchema);
/** Statuses that carry an error of the file API's own shape. */
const refusals: Readonly<Record<number, Content>> = { 403: refused, 404: refused, 409: refused };
const bytes: Content = { type: "application/octet-stream" };
const errors: readonly ErrorCode[] = ["unavailable", "start_failed", "busy", "deadline_exceeded"];
const base = "/v1/sprites/{name}/fs";

export const fileEndpoints: readonly Endpoint[] = [
  {
    method: "GET",
    path: `${base}/read`,
    summary: "The content of a file, or one `Range` of it",
    query: [
      path,
      directory,
      { name: "start", text: "the first byte", schema: z.int() },
      { name: "end", text: "the byte behind the last", schema: z.int() },
    ],
    answers: { 200: bytes, 206: bytes, 416: refused, ...refusals },
    errors,
  },
  {
    method: "PUT",
    path: `${base}/write`,
    summary: "Write a file: it appears whole and synced, or not at all",
    query: [
      path,
      directory,
      { name: "mode", text: "octal; 0644 for a new file", schema: z.string() },
      { name: "mkdirParents", text: "make missing directories; the default", schema: flagSchema },
      asRoot,
    ],
    body: bytes,
    answers: {
      200: json(z.object({ path: z.string(), size: z.int(), mode: modeSchema })),
      ...refusals,
      507: refused,
    },
    errors,
  },
  {
    method: "GET",
    path: `${base}/list`,
    summary: "What is in a directory, by name; of a file, the file itself",
    query: [
      path,
      directory,
      recursive,
      { name: "pattern", text: "a glob on names", schema: z.string() },
    ],
    answers: {
      200: json(z.object({ path: z.string(), entries: z.array(entrySchema), count: z.int() })),
      ...refusals,
    },
    errors,
  },
  {
    method: "DELETE",
    path: `${base}/delete`,
    summary: "Delete a file, an empty directory, or a tree",
    query: [path, directory, recursive, asRoot],
    answers: {
      200: json(z.object({ deleted: z.array(z.string()), count: z.int() })),
      ...refusals,
    },
    errors,
  },
  {
    method: "POST",
    path: `${base}/rename`,
    summary: "Rename or move a file or directory",
    body: json(z.object({ source: z.string(), dest: z.string(), workingDir, asRoot: flag }), {
      source: "/app/a",
      dest: "/app/b",
    }),
    answers: { 200: json(pairSchema), ...refusals },
    errors,
  },
  {
    method: "POST",
    path: `${base}/copy`,
    summary: "Copy a file or a tree",
    body: json(
      z.object({
        ...{ source: z.string(), dest: z.string(), workingDir, asRoot: flag },
        recursive: flag,
        preserveAttrs: flag.describe("owner, times and set-user-id too"),
      }),
      { source: "/app/a", dest: "/app/b", recursive: true },
    ),
    answers: {
      200: json(
        z.object({
          copied: z.array(pairSchema),
          count: countSchema,
          totalBytes: z.int(),
          skipped: z.array(z.string()).optional().describe("FIFOs, sockets and devices"),
        }),
      ),
      ...refusals,
      507: refused,
    },
    errors,
  },
  {
    method: "POST",
    path: `${base}/chmod`,
    summary: "Change permissions",
    body: json(
      z.object({
        ...{ path: z.string(), workingDir, recursive: flag, asRoot: flag },
        mode: z.union([z.string(), z.int()]).describe("octal text, or the number itself"),
      }),
      { path: "/app/run.sh", mode: "0755" },
    ),
    answers: {
      200: json(
        z.object({
          affected: z.array(z.object({ path: z.string(), mode: modeSchema })),
          count: countSchema,
        }),
      ),
      ...refusals,
    },
    errors,
  },
  {
    method: "POST",
    path: `${base}/chown`,
    summary: "Change owner or group, by number or name",
    body: json(
      z.object({
        ...{ path: z.string(), workingDir, recursive: flag, asRoot: flag },
        ...{ uid: ownerSchema, gid: ownerSchema },
      }),
      { path: "/app", uid: "sprite", recursive: true },
    ),
    answers: {
      200: json(
        z.object({
          affected: z.array(z.object({ path: z.string(), uid: z.int(), gid: z.int() })),
          count: countSchema,
        }),
      ),
      ...refusals,
    },
    errors,
  },
  {
    method: "WS",
    path: `${base}/watch`,
    summary: "Changes of files as they happen",
    text: [
      'The client says `{"type":"subscribe","paths":["src"],"recursive":true,"workingDir":"/app"}`, as often as it likes,',
      'and `{"type":"unsubscribe","paths":["src"],"workingDir":"/app"}`. The answer is `{"type":"subscribed","paths":["/app/src"]}`,',
      'then come `{"type":"event","path","event","timestamp","size","isDir"}`, where event is write,',
      "create, remove, chmod or rename, which has the old name: the new one is a create.",
      '`{"type":"error","message"}` says what cannot be watched, and when changes were lost.',
      "It ends with 1001 when the sprite restarts or is restored.",
    ].join(" "),
    answers: { 101: null },
    errors: ["unavailable", "start_failed", "busy"],
  },
];
