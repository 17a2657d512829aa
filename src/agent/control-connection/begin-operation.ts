import type { Log } from "../../base/log.ts";
import { encodeOpError, type ControlRequest } from "../../contract/control-frames.ts";
import { SpriteError } from "../../contract/errors.ts";
import { encodeSessionInfo } from "../../contract/exec-frames.ts";
import { encodeConnected, encodeNotConnected, parseTunnelTarget } from "../../contract/proxy.ts";
import { attachTarget, parseAttachSize, parseOpenSession } from "../api/exec-parameters.ts";
import type { OpenSockets } from "../api/open-sockets.ts";
import type { Query } from "../api/query.ts";
import type { FileOperations } from "../files/file-operations.ts";
import { connectInside, TunnelError, type TunnelInside } from "../proxy/connect.ts";
import type { OpenSession, Sessions } from "../sessions/sessions.ts";
import type { Session } from "../sessions/session.ts";
import { queryOfArguments } from "./arguments.ts";
import { ExecOperation, sendFailure } from "./exec-operation.ts";
import { FileOperation, fileVerbs } from "./file-operation.ts";
import { notStartedExitCode } from "./limits.ts";
import type { Operation, OperationLine } from "./operation.ts";
import { TunnelOperation } from "./tunnel-operation.ts";

export interface OperationParts extends TunnelInside {
  sessions: Sessions;
  connections: { readonly tunnels: OpenSockets };
  files: FileOperations;
  /** The sprite's own variables, now. */
  environment: () => Readonly<Record<string, string>>;
}

export interface Beginning {
  request: Extract<ControlRequest, { kind: "start" | "file" | "tunnel" }>;
  line: OperationLine;
  isGo: boolean;
  log: Log;
}

/** Null when the operation is over already: its client was told why. */
export async function beginOperation(
  parts: OperationParts,
  beginning: Beginning,
): Promise<Operation | null> {
  const { request, line } = beginning;
  try {
    if (request.kind === "tunnel") return await beginTunnel(parts, beginning, request.target);
    if (request.kind === "file" && fileVerbs.has(request.op)) {
      const operation = new FileOperation(parts.files, line);
      void operation.run(request.op, request.args);
      return operation;
    }
    if (request.kind === "file" || request.op !== "exec") {
      throw new SpriteError("invalid_request", `unknown operation: ${request.op.slice(0, 64)}`);
    }
    const query = queryOfArguments(request.args);
    const isRaw = beginning.isGo || "path" in request.args;
    const target = attachTarget(query);
    if (target === null) return await beginCommand(parts, beginning, { query, isRaw });
    return attach(parts.sessions.get(target), line, { query, isRaw });
  } catch (error) {
    if (!(error instanceof SpriteError)) throw error;
    line.send(encodeOpError(error.message));
    return null;
  }
}

async function beginCommand(
  parts: OperationParts,
  { line, log }: Beginning,
  { query, isRaw }: { query: Query; isRaw: boolean },
): Promise<Operation | null> {
  const request = parseOpenSession(query, parts.environment());
  const session = await open(parts.sessions, request, { line, log });
  if (session === null) return null;
  if (line.signal.aborted) {
    // Its client has left while it was being started: the same as being left a moment later.
    session.run();
    return null;
  }
  line.send(encodeSessionInfo(session.info(true)));
  const acceptsInput = request.stdin;
  const operation = new ExecOperation({ line, session, isOwner: true, acceptsInput, isRaw });
  session.run();
  return operation;
}

/** Null when the command could not be started: what becomes of a command is told as its end. */
async function open(
  sessions: Sessions,
  request: OpenSession,
  { line, log }: Pick<Beginning, "line" | "log">,
): Promise<Session | null> {
  try {
    return await sessions.open(request);
  } catch (error) {
    log.error({ err: error }, "a command could not be started");
    const reason = error instanceof SpriteError ? error.message : "internal error";
    const tty = request.terminal !== null;
    sendFailure(line, { tty, code: notStartedExitCode, reason });
    return null;
  }
}

function attach(
  session: Session,
  line: OperationLine,
  { query, isRaw }: { query: Query; isRaw: boolean },
): Operation {
  const size = parseAttachSize(query);
  if (size !== null) session.resize(size);
  line.send(encodeSessionInfo(session.info(false)));
  const acceptsInput = query.flag("stdin", true);
  return new ExecOperation({ line, session, isOwner: false, acceptsInput, isRaw });
}

async function beginTunnel(
  parts: OperationParts,
  { line }: Beginning,
  text: string,
): Promise<Operation | null> {
  const { tunnels } = parts.connections;
  tunnels.checkRoom();
  const target = parseTunnelTarget(text);
  try {
    const connected = await connectInside(parts, target, line.signal);
    if (line.signal.aborted) {
      connected.destroy();
      return null;
    }
    line.send(encodeConnected(target));
    return new TunnelOperation(line, connected, tunnels);
  } catch (error) {
    if (!(error instanceof TunnelError)) throw error;
    line.send(encodeNotConnected({ target, code: error.code, error: error.message }));
    return null;
  }
}
