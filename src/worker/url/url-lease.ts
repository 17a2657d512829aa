import { request as httpRequest, type ClientRequest } from "node:http";
import type { Socket } from "node:net";

import { errorCode } from "../../base/error-code.ts";
import { readJsonLines } from "../../base/json-lines.ts";
import type { ProcessIdentity } from "../../base/process-identity.ts";
import { withDeadline } from "../../base/wait.ts";
import { isErrorCode, SpriteError } from "../../contract/errors.ts";
import { urlLineBytesMax, type UrlEnd, type UrlLine } from "../../contract/url-lease.ts";
import { connectInNamespace } from "../../host/namespace-connection.ts";
import { urlAskTimeoutMsMax, urlConnectTimeoutMs, urlLeaseTimeoutMs } from "../limits.ts";
import type { UrlBusyNote, UrlPort } from "../worker.ts";

/**
 * One agent's word that this process may connect into its sprite's network, until it says otherwise. The connections are made here,
 * without the agent: its processor time belongs to the sprite.
 */
export class UrlLease implements UrlPort {
  readonly #request: ClientRequest;
  readonly #asks = new Map<number, PromiseWithResolvers<number>>();
  readonly #sockets = new Set<Socket>();
  #listener: (end: UrlEnd) => void = () => undefined;
  #first: ProcessIdentity | null = null;
  #isOpen = true;
  #count = 0;

  private constructor(request: ClientRequest) {
    this.#request = request;
  }

  /** @throws SpriteError unavailable */
  static async open(agent: { socketPath: string; spriteName: string }): Promise<UrlLease> {
    const { socketPath, spriteName } = agent;
    const path = `/v1/sprites/${spriteName}/url`;
    const headers = { "transfer-encoding": "chunked" };
    const request = httpRequest({ socketPath, path, method: "POST", headers, agent: false });
    request.setNoDelay(true);
    const lease = new UrlLease(request);
    try {
      await withDeadline(lease.#begin(), {
        timeoutMs: urlLeaseTimeoutMs,
        onTimeout: () => new Error("no answer in time"),
      });
    } catch (cause) {
      lease.close();
      throw new SpriteError("unavailable", "the sprite's agent does not answer; try again", {
        cause,
      });
    }
    return lease;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  async ready(timeoutMs: number): Promise<number> {
    if (!this.#isOpen) throw gone();
    this.#count += 1;
    const ask = this.#count;
    const answer = Promise.withResolvers<number>();
    this.#asks.set(ask, answer);
    this.#send({ ask, timeout_ms: timeoutMs });
    try {
      return await withDeadline(answer.promise, {
        timeoutMs: timeoutMs + urlAskTimeoutMsMax,
        onTimeout: () => new SpriteError("unavailable", "the sprite's agent does not answer"),
      });
    } finally {
      this.#asks.delete(ask);
    }
  }

  async connect(port: number): Promise<Socket> {
    if (!this.#isOpen || this.#first === null) throw gone();
    const connecting = connectInNamespace(this.#first, port);
    const socket = await withDeadline(connecting, {
      timeoutMs: urlConnectTimeoutMs,
      onTimeout: () => new SpriteError("bad_gateway", "the web server accepts no connection"),
    }).catch((cause: unknown) => {
      // One that comes too late is nobody's.
      connecting.then(
        (late) => late.destroy(),
        () => undefined,
      );
      throw asConnectError(cause, port);
    });
    if (!this.#isOpen) {
      socket.destroy();
      throw gone();
    }
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
    return socket;
  }

  noteBusy(note: UrlBusyNote): void {
    this.#send(note);
  }

  onEnd(listener: (end: UrlEnd) => void): void {
    this.#listener = listener;
  }

  /** Closes what was connected, too. */
  close(): void {
    this.#end({ end: "ended", reason: "nobody needs it" });
  }

  async #begin(): Promise<void> {
    const begun = Promise.withResolvers<void>();
    this.#request.on("error", (error) => {
      begun.reject(error);
      this.#end({ end: "ended", reason: "the sprite's agent has ended" });
    });
    this.#request.once("response", (response) => {
      if (response.statusCode !== 200) {
        response.destroy();
        begun.reject(new Error(`the agent answers with status ${response.statusCode}`));
        return;
      }
      readJsonLines(response, {
        lineBytesMax: urlLineBytesMax,
        onValue: (value) => this.#onLine(value as Record<string, unknown>),
        onOther: () => response.destroy(),
      });
      response.on("error", () => undefined);
      response.once("close", () => {
        this.#end({ end: "ended", reason: "the sprite's agent has ended" });
      });
      begun.resolve();
    });
    this.#request.flushHeaders();
    await begun.promise;
  }

  #onLine(line: Record<string, unknown>): void {
    const { ask, port, first, end, reason } = line;
    if (end === "paused") {
      this.#drop({ end, reason: String(reason) });
      return;
    }
    if (end === "ended") {
      this.#end({ end, reason: String(reason) });
      return;
    }
    const answer = typeof ask === "number" ? this.#asks.get(ask) : undefined;
    if (typeof port === "number") {
      this.#first = first as ProcessIdentity;
      answer?.resolve(port);
      return;
    }
    const code = isErrorCode(line["error"]) ? line["error"] : "internal_error";
    answer?.reject(new SpriteError(code, String(line["message"])));
  }

  /** The network is about to go: it stays until its last socket is closed. */
  #end(end: UrlEnd): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    for (const { reject, promise } of this.#asks.values()) {
      promise.catch(() => undefined);
      reject(gone());
    }
    this.#drop(end);
    this.#request.end();
    // The agent ends its half when it has heard; one that does not is left.
    setTimeout(() => this.#request.destroy(), urlLeaseTimeoutMs).unref();
  }

  #drop(end: UrlEnd): void {
    this.#listener(end);
    for (const socket of this.#sockets) socket.destroy();
  }

  #send(line: UrlLine): void {
    if (this.#isOpen) this.#request.write(`${JSON.stringify(line)}\n`);
  }
}

function gone(): SpriteError {
  return new SpriteError("unavailable", "the sprite is stopping; try again");
}

function asConnectError(cause: unknown, port: number): SpriteError {
  if (cause instanceof SpriteError) return cause;
  if (errorCode(cause) === "ECONNREFUSED") {
    return new SpriteError("nothing_listening", `nothing listens at port ${port}`, { cause });
  }
  return new SpriteError("bad_gateway", "the web server cannot be reached", { cause });
}
