/**
 * A connection that is accepted before its sprite runs: clients that only try whether control
 * connections are there wait two seconds at most, and should not wake a sprite by it (contract.md
 * section 4). The first message does.
 */

import { headerLines } from "../../base/raw-response.ts";
import { acceptHeaders } from "../../base/web-socket-handshake.ts";
import { endGently } from "./gentle-end.ts";
import type { Splice, SpliceEnd } from "./open-splices.ts";
import { UpgradeSplice, type UpgradeOptions } from "./upgrade-splice.ts";
import { closeFrame, readControlFrame, pongFrame } from "./websocket-frames.ts";

export class LateSplice implements Splice {
  readonly kind = "socket";
  readonly #options: UpgradeOptions;
  #inner: UpgradeSplice | null = null;
  #onLeft: (() => void) | null = null;

  constructor(options: UpgradeOptions) {
    this.#options = options;
  }

  /** As `UpgradeSplice.run`. @throws SpriteError */
  async run(): Promise<number> {
    const { socket, head } = this.#options;
    socket.setNoDelay(true);
    socket.write(this.#answer(), "latin1");
    const first = head.length > 0 ? head : await this.#firstMessage();
    if (first === null) return 101;
    this.#inner = new UpgradeSplice({ ...this.#options, head: first, isAnswered: true });
    return await this.#inner.run();
  }

  end(end: SpliceEnd): void {
    if (this.#inner !== null) {
      this.#inner.end(end);
      return;
    }
    this.#onLeft?.();
    endGently(this.#options.socket, closeFrame(end.code, end.reason));
  }

  #answer(): string {
    const { request, added } = this.#options;
    const headers = [...acceptHeaders(request.headers), ...Object.entries(added)];
    return `HTTP/1.1 101 Switching Protocols\r\n${headerLines(headers.flat())}\r\n`;
  }

  /** Null when the client has left, or was left. */
  #firstMessage(): Promise<Buffer | null> {
    const { socket } = this.#options;
    return new Promise((resolve) => {
      const settle = (first: Buffer | null): void => {
        socket.off("data", onData);
        socket.off("close", onLeft);
        socket.off("end", onLeft);
        resolve(first);
      };
      const onLeft = (): void => {
        settle(null);
        socket.end();
      };
      const onData = (bytes: Buffer): void => {
        const control = readControlFrame(bytes);
        if (control?.kind === "ping") {
          socket.write(pongFrame(control.payload));
        } else if (control?.kind === "close") {
          settle(null);
          endGently(socket, closeFrame(1000, ""));
        } else {
          // Nothing more is read until the agent can take it.
          socket.pause();
          settle(bytes);
        }
      };
      this.#onLeft = () => settle(null);
      socket.on("error", () => socket.destroy());
      socket.on("data", onData);
      socket.once("close", onLeft);
      socket.once("end", onLeft);
    });
  }
}
