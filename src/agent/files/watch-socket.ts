/** Changes of files as a WebSocket (contract.md section 7.8). */
import type { Duplex } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import type { WebSocket } from "ws";

import { execCloseCode } from "../../contract/exec-frames.ts";
import { parseWatchRequest, type WatchRequest } from "../../contract/file-requests.ts";
import { formatTimestamp } from "../../contract/timestamp.ts";
import type { OpenSocket, OpenSockets } from "../api/open-sockets.ts";
import type { UpgradeRoute } from "../api/route.ts";
import { closeSocket, type Upgrader } from "../api/web-socket.ts";
import type { FileOperations } from "./file-operations.ts";
import type { WatchMessage } from "./helper-protocol.ts";
import {
  slowClientPollMs,
  subscriptionsMax,
  watchMessageBytesMax,
  watchQueueBytesMax,
} from "./limits.ts";

interface WatchParts {
  files: FileOperations;
  connections: { readonly fileWatches: OpenSockets };
  upgrade: Upgrader;
}

export function watchUpgradeRoutes(parts: WatchParts): UpgradeRoute[] {
  return [
    {
      pattern: ["fs", "watch"],
      handle: (context) => {
        parts.connections.fileWatches.checkRoom();
        parts.upgrade(context, (socket) => new WatchSocket(parts, socket, context.socket), {
          messageBytesMax: watchMessageBytesMax,
        });
      },
    },
  ];
}

interface Subscription {
  paths: readonly string[];
  abort: AbortController;
}

class WatchSocket implements OpenSocket {
  readonly #files: FileOperations;
  readonly #socket: WebSocket;
  readonly #connection: Duplex;
  readonly #subscriptions = new Set<Subscription>();

  constructor({ files, connections }: WatchParts, socket: WebSocket, connection: Duplex) {
    this.#files = files;
    this.#socket = socket;
    this.#connection = connection;
    const remove = connections.fileWatches.add(this);
    // Whatever goes wrong, the socket closes after it.
    socket.on("error", () => undefined);
    socket.on("message", (data, isBinary) => {
      if (!isBinary) this.#onMessage((data as Buffer).toString("utf8"));
    });
    socket.once("close", () => {
      remove();
      for (const { abort } of this.#subscriptions) abort.abort();
    });
  }

  get queuedBytes(): number {
    return this.#connection.writableLength;
  }

  stop(reason: string): void {
    closeSocket(this.#socket, execCloseCode.goingAway, reason);
  }

  #onMessage(text: string): void {
    try {
      const message = JSON.parse(text) as Record<string, unknown> | null;
      if (message?.["type"] === "subscribe") this.#subscribe(parseWatchRequest(message));
      else if (message?.["type"] === "unsubscribe") this.#unsubscribe(parseWatchRequest(message));
      else this.#sendError("a message's type is subscribe or unsubscribe");
    } catch (error) {
      this.#sendError(error instanceof SyntaxError ? "a message is no JSON" : wordsOf(error));
    }
  }

  #subscribe(request: WatchRequest): void {
    if (this.#subscriptions.size >= subscriptionsMax) {
      this.#sendError(`more than ${subscriptionsMax} subscriptions on one socket`);
      return;
    }
    const subscription = { paths: request.paths, abort: new AbortController() };
    this.#subscriptions.add(subscription);
    void this.#follow(request, subscription);
  }

  /** Whatever was subscribed to with these paths, all of them or some. */
  #unsubscribe({ paths }: WatchRequest): void {
    for (const subscription of this.#subscriptions) {
      if (subscription.paths.every((path) => paths.includes(path))) subscription.abort.abort();
    }
    this.#send({ type: "unsubscribed", paths });
  }

  async #follow(request: WatchRequest, subscription: Subscription): Promise<void> {
    const { signal } = subscription.abort;
    try {
      const events = await this.#files.watch(request, signal);
      this.#send({ type: "subscribed", paths: request.paths });
      for await (const event of events) {
        if (signal.aborted) return;
        this.#send(encode(event));
        await this.#passedOn(signal);
      }
    } catch (error) {
      if (!signal.aborted) this.#sendError(wordsOf(error));
    } finally {
      this.#subscriptions.delete(subscription);
    }
  }

  /** A client that reads slowly keeps the changes waiting in the kernel, which says when it forgets some. */
  async #passedOn(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && this.queuedBytes > watchQueueBytesMax) {
      await delay(slowClientPollMs, undefined, { signal }).catch(() => undefined);
    }
  }

  #send(message: Readonly<Record<string, unknown>>): void {
    if (this.#socket.readyState === this.#socket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #sendError(message: string): void {
    this.#send({ type: "error", message });
  }
}

function encode(event: WatchMessage): Readonly<Record<string, unknown>> {
  if ("lost" in event) return { type: "error", message: event.lost };
  const { path, event: kind, timeMs, size, isDir } = event;
  return { type: "event", path, event: kind, timestamp: formatTimestamp(timeMs), size, isDir };
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : "the files cannot be watched";
}
