import {
  encodeOpComplete,
  encodeOpError,
  sniffSessionControl,
  type ControlRequest,
} from "../../contract/control-frames.ts";
import {
  encodeExitFrame,
  encodeExitMessage,
  encodeOutputFrame,
  execCloseCode,
  execStream,
  isLoneStdinEnd,
  parsePipeInput,
  type ClientInput,
  type OutputStream,
} from "../../contract/exec-frames.ts";
import { SessionInput } from "../api/session-input.ts";
import type { Attachment, SessionClient, SessionEnd } from "../sessions/session-client.ts";
import type { Session } from "../sessions/session.ts";
import { unknownExitCode } from "./limits.ts";
import type { Operation, OperationLine } from "./operation.ts";

/** A command, or a session that is watched, over a control connection. */
export class ExecOperation implements Operation, SessionClient {
  readonly #line: OperationLine;
  readonly #session: Session;
  readonly #attachment: Attachment;
  readonly #input: SessionInput;
  readonly #isRaw: boolean;
  #isReleased = false;

  /** Shows the client what is kept of the session's past at once. */
  constructor(options: {
    line: OperationLine;
    session: Session;
    isOwner: boolean;
    acceptsInput: boolean;
    /** Go's input has no stream ids. */
    isRaw: boolean;
  }) {
    const { line, session, isOwner, acceptsInput, isRaw } = options;
    this.#line = line;
    this.#session = session;
    this.#isRaw = isRaw;
    this.#attachment = session.attach(this, { isOwner });
    this.#input = new SessionInput({
      ...{ source: line, session, attachment: this.#attachment, acceptsInput },
      readFrame: isRaw ? parseRawInput : parsePipeInput,
    });
  }

  get queuedBytes(): number {
    return this.#line.queuedBytes;
  }

  sendOutput(stream: OutputStream, bytes: Buffer): void {
    if (this.#isReleased) return;
    this.#line.send(this.#session.tty ? bytes : encodeOutputFrame(stream, bytes));
  }

  sendNotice(text: string): void {
    if (!this.#isReleased) this.#line.send(text);
  }

  sendEnd(end: SessionEnd): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#input.release();
    const { tty } = this.#session;
    if (end.kind === "exited") {
      sendExit(this.#line, { tty, code: end.code });
      this.#line.send(encodeOpComplete(end.code));
      this.#line.done();
      return;
    }
    sendFailure(this.#line, { tty, code: unknownExitCode, reason: end.reason });
    if (end.kind === "stopped") this.#line.close(execCloseCode.goingAway, end.reason);
    else this.#line.done();
  }

  push(frame: Buffer): void {
    const control = this.#isRaw ? null : sniffSessionControl(frame);
    if (control === null) this.#input.push(frame);
    else this.#input.control(control);
  }

  control(request: Extract<ControlRequest, { kind: "session" | "release" }>): void {
    if (request.kind === "session") this.#input.control(request.control);
  }

  drained(): void {
    this.#attachment.drained();
  }

  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#input.release();
    this.#attachment.detach();
  }
}

/**
 * Tells of a command that did not run to an end that we know. Go waits for an exit notice and for
 * nothing else, so it gets one that is no success; the others go by the error.
 */
export function sendFailure(
  line: Pick<OperationLine, "send">,
  failure: { tty: boolean; code: number; reason: string },
): void {
  const { tty, code, reason } = failure;
  const text = Buffer.from(`sprite: ${reason}${tty ? "\r\n" : "\n"}`);
  line.send(tty ? text : encodeOutputFrame(execStream.stderr, text));
  sendExit(line, { tty, code });
  line.send(encodeOpError(reason));
}

function sendExit(
  line: Pick<OperationLine, "send">,
  { tty, code }: { tty: boolean; code: number },
): void {
  if (!tty) line.send(encodeExitFrame(code));
  line.send(encodeExitMessage(code));
}

/** Go's frames are input as they are, except for the one that ends it. */
function parseRawInput(frame: Buffer): ClientInput {
  return isLoneStdinEnd(frame) ? { type: "end" } : { type: "data", bytes: frame };
}
