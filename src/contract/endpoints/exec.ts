/** Commands and sessions (contract.md section 3). */
import { z } from "zod";

import {
  durationSchema,
  flagSchema,
  json,
  named,
  ndjson,
  startErrors,
  timeSchema,
} from "./endpoint.ts";
import type { Endpoint, Parameter } from "./endpoint.ts";

const sessionSchema = named(
  "Session",
  z.object({
    id: z.string(),
    command: z.string(),
    workdir: z.string(),
    created: timeSchema,
    bytes_per_second: z.number(),
    is_active: z.boolean(),
    last_activity: timeSchema,
    tty: z.boolean(),
  }),
);

const killEventSchema = named(
  "KillEvent",
  z.object({
    type: z.enum(["signal", "timeout", "exited", "killed", "error", "complete"]),
    message: z.string().exactOptional(),
    signal: z.string().exactOptional(),
    pid: z.int().exactOptional(),
    exit_code: z.int().exactOptional(),
  }),
);

const commandQuery: readonly Parameter[] = [
  {
    name: "cmd",
    text: "the command, then each of its arguments",
    schema: z.string(),
    repeats: true,
    required: true,
  },
  { name: "path", text: "the file to run; else the first `cmd`", schema: z.string() },
  { name: "env", text: "`NAME=value`", schema: z.string(), repeats: true },
  { name: "dir", text: "working directory; else the home directory", schema: z.string() },
  { name: "stdin", text: "whether input follows", schema: flagSchema },
];

const socketQuery: readonly Parameter[] = [
  ...commandQuery.map((parameter) => ({ ...parameter, required: false })),
  { name: "tty", text: "a terminal for it", schema: flagSchema },
  { name: "rows", text: "of the terminal; 24", schema: z.int() },
  { name: "cols", text: "of the terminal; 80", schema: z.int() },
  { name: "detachable", text: "go on when the connection ends", schema: flagSchema },
  {
    name: "max_run_after_disconnect",
    text: "how long it goes on without a connection",
    schema: durationSchema,
  },
  { name: "id", text: "attach to this session instead", schema: z.string() },
  { name: "session_id", text: "the same as `id`", schema: z.string() },
];

const base = "/v1/sprites/{name}/exec";
const frames =
  "Without a terminal each binary message is one byte that says which stream (0 stdin, 1 stdout, 2 stderr, 3 exit code, " +
  "4 end of stdin) and its bytes; with one it is bare bytes. Text messages are JSON: `session_info` first, `resize` and `signal` " +
  "from the client, `exit` last.";

export const execEndpoints: readonly Endpoint[] = [
  {
    method: "WS",
    path: base,
    summary: "Run a command, or attach to one",
    text: frames,
    query: socketQuery,
    answers: { 101: null },
    errors: startErrors,
  },
  {
    method: "GET",
    path: base,
    summary: "List running commands; does not wake the sprite",
    answers: { 200: json(z.object({ count: z.int(), sessions: z.array(sessionSchema) })) },
  },
  {
    method: "HEAD",
    path: base,
    summary: "The server's version, in `Sprite-Version`",
    answers: { 200: null },
  },
  {
    method: "POST",
    path: base,
    summary: "Run a command over plain HTTP",
    text:
      "The body is its input with `stdin=true`. The answer is a stream of frames as in the WebSocket, one to a chunk; " +
      "the exit code is the last.",
    query: commandQuery,
    body: { type: "application/octet-stream", isOptional: true },
    answers: { 200: { type: "application/octet-stream" } },
    errors: startErrors,
  },
  {
    method: "WS",
    path: `${base}/{session}`,
    summary: "Attach to a running command",
    text: frames,
    answers: { 101: null },
    errors: startErrors,
  },
  {
    method: "POST",
    path: `${base}/{session}/kill`,
    summary: "Signal a command, and kill it when that does not end it in time",
    query: [
      { name: "signal", text: "SIGTERM", schema: z.string() },
      { name: "timeout", text: "10s; 0s does not wait", schema: durationSchema },
    ],
    answers: { 200: ndjson(killEventSchema, "The last line is `complete`.") },
    errors: ["gone"],
  },
];
