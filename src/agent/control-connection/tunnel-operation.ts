import type { Socket } from "node:net";

import type { ControlRequest } from "../../contract/control-frames.ts";
import { execCloseCode } from "../../contract/exec-frames.ts";
import type { OpenSocket, OpenSockets } from "../api/open-sockets.ts";
import { leaveMsMax } from "../proxy/limits.ts";
import { Relay } from "../proxy/relay.ts";
import type { Operation, OperationLine } from "./operation.ts";

/**
 * Go's tunnel over a control connection. The target's end is told by the connection's own, which is
 * what Go takes for the end of the stream.
 */
export class TunnelOperation implements Operation, OpenSocket {
  readonly #relay: Relay;
  readonly #line: OperationLine;
  #isReleased = false;

  constructor(line: OperationLine, connected: Socket, tunnels: OpenSockets) {
    this.#line = line;
    const remove = tunnels.add(this);
    const end = (code: number, reason: string): void => {
      if (!this.#isReleased) line.close(code, reason);
    };
    this.#relay = new Relay(connected, {
      get queuedBytes() {
        return line.queuedBytes;
      },
      send: (bytes) => {
        if (!this.#isReleased) line.send(bytes);
      },
      setReading: (reads) => {
        if (this.#isReleased) return;
        if (!reads) line.pause();
        else if (line.isPaused) line.resume();
      },
      targetEnded: () => end(execCloseCode.ended, ""),
      targetClosed: (error) => {
        remove();
        if (error === null) end(execCloseCode.ended, "");
        else end(execCloseCode.internalFailure, "the connection broke off");
      },
    });
  }

  get queuedBytes(): number {
    return this.#relay.queuedBytes;
  }

  stop(reason: string): void {
    this.#relay.destroy();
    if (this.#isReleased) return;
    this.#isReleased = true;
    this.#line.close(execCloseCode.goingAway, reason);
  }

  push(frame: Buffer): void {
    this.#relay.write(frame);
  }

  control(request: Extract<ControlRequest, { kind: "session" | "release" }>): void {
    if (request.kind !== "release") return;
    this.release();
    this.#line.done();
  }

  drained(): void {
    this.#relay.drained();
  }

  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    if (this.#line.isPaused) this.#line.resume();
    this.#relay.leave(leaveMsMax);
  }
}
