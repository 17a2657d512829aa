/** HTTP exec (contract.md section 3.8), the list of sessions (3.6) and kill (3.7). */
import type { IncomingMessage } from "node:http";

import { settlesWithin } from "../../base/wait.ts";
import { SpriteError } from "../../contract/errors.ts";
import { parseSignal } from "../../contract/signals.ts";
import { formatTimestamp } from "../../contract/timestamp.ts";
import type { Attachment } from "../sessions/session-client.ts";
import type { Session, SessionSummary } from "../sessions/session.ts";
import type { Sessions } from "../sessions/sessions.ts";
import { parseHttpCommand } from "./exec-parameters.ts";
import { HttpClient } from "./http-client.ts";
import {
  inputQueueBytesMax,
  killedWaitMs,
  killTimeoutMsDefault,
  killTimeoutMsMax,
} from "./limits.ts";
import { type NdjsonStream, openNdjson, sendJson } from "./responses.ts";
import type { RequestContext, Route } from "./route.ts";

export interface ExecHttpParts {
  sessions: Sessions;
  environment: () => Readonly<Record<string, string>>;
}

export function execRoutes(parts: ExecHttpParts): Route[] {
  return [
    {
      method: "GET",
      pattern: ["exec"],
      isQuiet: true,
      handle: ({ response }) => sendJson(response, 200, describe(parts.sessions.list())),
    },
    {
      method: "HEAD",
      pattern: ["exec"],
      handle: ({ response }) => {
        response.writeHead(200);
        response.end();
      },
    },
    { method: "POST", pattern: ["exec"], handle: (context) => runOverHttp(parts, context) },
    {
      method: "POST",
      pattern: ["exec", ":session", "kill"],
      handle: (context) => kill(parts.sessions, context),
    },
  ];
}

function describe(sessions: readonly SessionSummary[]): object {
  return {
    count: sessions.length,
    sessions: sessions.map((session) => ({
      id: session.id,
      command: session.command,
      workdir: session.workdir,
      created: formatTimestamp(session.createdMs),
      bytes_per_second: session.bytesPerSecond,
      is_active: session.isActive,
      last_activity: formatTimestamp(session.lastActivityMs),
      tty: session.tty,
    })),
  };
}

async function runOverHttp(parts: ExecHttpParts, context: RequestContext): Promise<void> {
  const { request, response, query } = context;
  const open = parseHttpCommand(query, parts.environment());
  const session = await parts.sessions.open(open);
  response.writeHead(200, {
    "Content-Type": "application/octet-stream",
    "Cache-Control": "no-store",
  });
  response.flushHeaders();
  const client = new HttpClient(response, () => attachment.drained());
  const attachment = session.attach(client, { isOwner: true });
  // A client that broke off gets its command ended at once: it has no way to come back.
  response.once("close", () => attachment.detach());
  if (open.stdin) feedInput(request, attachment);
  else request.resume();
  session.run();
  await session.ended;
}

/** The body is the command's input, read as fast as the command takes it. */
function feedInput(request: IncomingMessage, attachment: Attachment): void {
  let waitingBytes = 0;
  request.on("data", (bytes: Buffer) => {
    waitingBytes += bytes.length;
    attachment.write(bytes, () => {
      waitingBytes -= bytes.length;
      if (waitingBytes <= inputQueueBytesMax && request.isPaused()) request.resume();
    });
    if (waitingBytes > inputQueueBytesMax) request.pause();
  });
  request.once("end", () => attachment.endInput());
}

async function kill(sessions: Sessions, context: RequestContext): Promise<void> {
  const { query, response, request, params } = context;
  request.resume();
  const text = query.text("signal") ?? "SIGTERM";
  const signal = parseSignal(text);
  if (signal === null)
    throw new SpriteError("invalid_request", `unknown signal: ${text.slice(0, 64)}`);
  const timeoutMs = Math.min(query.durationMs("timeout") ?? killTimeoutMsDefault, killTimeoutMsMax);
  const id = params["session"] ?? "";
  if (sessions.hasEnded(id)) throw new SpriteError("gone", `session has exited: ${id}`);
  const session = sessions.get(id);
  if (session.hasExited) throw new SpriteError("gone", `session has exited: ${id}`);
  session.signal(signal);
  const stream = openNdjson(response);
  const message = `Signaling ${signal} to process group ${id}`;
  stream.send({ type: "signal", message, signal, pid: Number(id) });
  if (timeoutMs === 0) stream.send({ type: "complete" });
  else await followEnd(session, stream, timeoutMs);
  stream.end();
}

async function followEnd(session: Session, stream: NdjsonStream, timeoutMs: number): Promise<void> {
  if (await settlesWithin(session.exited, timeoutMs)) {
    stream.send({ type: "exited", message: "Process exited" });
  } else {
    const message = "Process did not exit in time; sending SIGKILL";
    stream.send({ type: "timeout", message });
    session.signal("SIGKILL");
    if (!(await settlesWithin(session.exited, killedWaitMs))) {
      stream.send({ type: "error", message: "Process did not exit after SIGKILL" });
      stream.send({ type: "complete" });
      return;
    }
    stream.send({ type: "killed", message: "Process killed" });
  }
  const status = await session.exited;
  if (status.kind === "exited") stream.send({ type: "complete", exit_code: status.code });
  else {
    stream.send({ type: "error", message: status.reason });
    stream.send({ type: "complete" });
  }
}
