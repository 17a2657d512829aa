/**
 * WebSocket exec: opening a command, and attaching to one that runs (contract.md sections 3.1 to
 * 3.6).
 */
import type { WebSocket } from "ws";

import type { Log } from "../../base/log.ts";
import { SpriteError } from "../../contract/errors.ts";
import {
  encodeSessionInfo,
  isLoneStdinEnd,
  parseClientControl,
  parsePipeInput,
} from "../../contract/exec-frames.ts";
import { parseSignal } from "../../contract/signals.ts";
import type { Attachment } from "../sessions/session-client.ts";
import type { Session } from "../sessions/session.ts";
import type { Sessions } from "../sessions/sessions.ts";
import { attachTarget, parseAttachSize, parseOpenSession } from "./exec-parameters.ts";
import { attachHazardMs, inputQueueBytesMax } from "./limits.ts";
import type { UpgradeContext, UpgradeRoute } from "./route.ts";
import { SocketClient } from "./socket-client.ts";
import type { Upgrader } from "./web-socket.ts";

export interface ExecSocketParts {
  sessions: Sessions;
  /** The sprite's own variables, now. */
  environment: () => Readonly<Record<string, string>>;
  upgrade: Upgrader;
}

export function execUpgradeRoutes(parts: ExecSocketParts): UpgradeRoute[] {
  return [
    {
      pattern: ["exec"],
      handle: (context) => {
        const id = attachTarget(context.query);
        if (id === null) openCommand(parts, context);
        else attachTo(parts, context, id);
      },
    },
    {
      pattern: ["exec", ":session"],
      handle: (context) => attachTo(parts, context, context.params["session"] ?? ""),
    },
  ];
}

/**
 * Accepts at once and starts the command afterwards, since waking may take longer than clients wait
 * for the handshake.
 */
function openCommand(parts: ExecSocketParts, context: UpgradeContext): void {
  const request = parseOpenSession(context.query, parts.environment());
  parts.sessions.checkRoom();
  parts.upgrade(context, (socket) => {
    socket.pause();
    const tty = request.terminal !== null;
    const client = new SocketClient(socket, context.socket, { tty });
    parts.sessions.open(request).then(
      (session) => {
        client.sendText(encodeSessionInfo(session.info(true)));
        const attachment = session.attach(client, { isOwner: true });
        connectInput({ socket, context, session, attachment, acceptsInput: request.stdin });
        session.run();
        socket.resume();
      },
      (error: unknown) => {
        failOpen(client, error, context.log);
        socket.resume();
      },
    );
  });
}

function attachTo(parts: ExecSocketParts, context: UpgradeContext, id: string): void {
  const session = parts.sessions.get(id);
  const size = parseAttachSize(context.query);
  const acceptsInput = context.query.flag("stdin", true);
  parts.upgrade(context, (socket) => {
    const client = new SocketClient(socket, context.socket, { tty: session.tty });
    if (size !== null) session.resize(size);
    client.sendText(encodeSessionInfo(session.info(false)));
    const attachment = session.attach(client, { isOwner: false });
    connectInput({ socket, context, session, attachment, acceptsInput });
  });
}

function failOpen(client: SocketClient, error: unknown, log: Log): void {
  log.error({ err: error }, "a command could not be started");
  const reason = error instanceof SpriteError ? error.message : "internal error";
  client.sendEnd({ kind: "lost", reason });
}

/** Carries what the client sends to the session, and notices when it leaves. */
function connectInput(options: {
  socket: WebSocket;
  context: UpgradeContext;
  session: Session;
  attachment: Attachment;
  acceptsInput: boolean;
}): void {
  const { socket, context, session, attachment, acceptsInput } = options;
  const isHazard = attachHazardFilter(session, attachment);
  let waitingBytes = 0;
  socket.on("message", (data, isBinary) => {
    const bytes = data as Buffer;
    if (!isBinary) {
      onControl(session, bytes.toString("utf8"));
      return;
    }
    if (isHazard(bytes) || !acceptsInput) return;
    if (session.tty) {
      write(bytes);
      return;
    }
    const input = parsePipeInput(bytes);
    if (input.type === "data") write(input.bytes);
    if (input.type === "end") attachment.endInput();
  });
  context.socket.on("drain", () => attachment.drained());
  // The client may have left while its command was being started.
  if (socket.readyState === socket.CLOSED) attachment.detach();
  else socket.once("close", () => attachment.detach());

  function write(bytes: Buffer): void {
    waitingBytes += bytes.length;
    attachment.write(bytes, () => {
      waitingBytes -= bytes.length;
      if (waitingBytes <= inputQueueBytesMax && socket.isPaused) socket.resume();
    });
    if (waitingBytes > inputQueueBytesMax) socket.pause();
  }
}

/**
 * Two clients send the frame that means "end of input" right after attaching, before they know the
 * mode; on a terminal it would be read as ^D and log the shell out.
 */
function attachHazardFilter(session: Session, attachment: Attachment): (bytes: Buffer) => boolean {
  const attachedMs = performance.now();
  let isFirst = true;
  return (bytes) => {
    const isFirstFrame = isFirst;
    isFirst = false;
    return (
      isFirstFrame &&
      session.tty &&
      !attachment.isOwner &&
      isLoneStdinEnd(bytes) &&
      performance.now() - attachedMs < attachHazardMs
    );
  };
}

function onControl(session: Session, text: string): void {
  const control = parseClientControl(text);
  if (control === null) return;
  if (control.type === "resize") {
    session.resize({ columns: control.columns, rows: control.rows });
    return;
  }
  const signal = parseSignal(control.signal);
  if (signal !== null) session.signal(signal);
}
