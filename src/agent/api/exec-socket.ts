/**
 * WebSocket exec: opening a command, and attaching to one that runs (contract.md sections 3.1 to
 * 3.6).
 */
import type { WebSocket } from "ws";

import type { Log } from "../../base/log.ts";
import { SpriteError } from "../../contract/errors.ts";
import {
  encodeSessionInfo,
  parseClientControl,
  parsePipeInput,
} from "../../contract/exec-frames.ts";
import type { Attachment } from "../sessions/session-client.ts";
import type { Session } from "../sessions/session.ts";
import type { Sessions } from "../sessions/sessions.ts";
import { attachTarget, parseAttachSize, parseOpenSession } from "./exec-parameters.ts";
import type { UpgradeContext, UpgradeRoute } from "./route.ts";
import { SessionInput } from "./session-input.ts";
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
  const readFrame = parsePipeInput;
  const input = new SessionInput({ source: socket, session, attachment, acceptsInput, readFrame });
  socket.on("message", (data, isBinary) => {
    const bytes = data as Buffer;
    if (isBinary) {
      input.push(bytes);
      return;
    }
    const control = parseClientControl(bytes.toString("utf8"));
    if (control !== null) input.control(control);
  });
  context.socket.on("drain", () => attachment.drained());
  // The client may have left while its command was being started.
  if (socket.readyState === socket.CLOSED) attachment.detach();
  else socket.once("close", () => attachment.detach());
}
