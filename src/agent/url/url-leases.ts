/** The sprite's URL, from inside: wakes it for the edge, says where its web server listens, and is told of the traffic. */
import type { IncomingMessage, ServerResponse } from "node:http";

import { readJsonLines } from "../../base/json-lines.ts";
import { settlesWithin } from "../../base/wait.ts";
import type { ActivityItem } from "../../contract/activity.ts";
import { SpriteError } from "../../contract/errors.ts";
import { urlLineBytesMax, type UrlAnswer, type UrlRefusal } from "../../contract/url-lease.ts";
import type { ActivitySource } from "../activity/activity.ts";
import type { RequestGate } from "../api/request-gate.ts";
import { answerHoldMsMax, askHoldMs, asksMax, busyHoldMs, endMsMax, leasesMax } from "./limits.ts";

export interface UrlLeasesParts {
  gate: Pick<RequestGate, "enter">;
  /** Where it listens, once it does. @throws SpriteError */
  listening: (timeoutMs: number) => Promise<Omit<UrlAnswer, "ask">>;
  now?: () => number;
}

interface Lease {
  response: ServerResponse;
  closed: Promise<void>;
  asks: number;
  requests: number;
  /** Since when requests have waited for an answer, without a moment when none did. */
  waitingSinceMs: number | null;
  connections: number;
  heardAtMs: number;
}

export class UrlLeases implements ActivitySource {
  readonly #parts: UrlLeasesParts;
  readonly #now: () => number;
  readonly #leases = new Set<Lease>();
  #askedAtMs = -Infinity;

  constructor(parts: UrlLeasesParts) {
    this.#parts = parts;
    this.#now = parts.now ?? Date.now;
  }

  /** Serves one lease until either side ends it. @throws SpriteError unavailable */
  open(request: IncomingMessage, response: ServerResponse): void {
    if (this.#leases.size >= leasesMax) {
      throw new SpriteError("unavailable", "too many leases of the sprite's URL are open");
    }
    const { promise: closed, resolve } = Promise.withResolvers<void>();
    const lease: Lease = {
      ...{ response, closed, asks: 0, requests: 0, waitingSinceMs: null },
      ...{ connections: 0, heardAtMs: -Infinity },
    };
    this.#leases.add(lease);
    response.once("close", () => {
      this.#leases.delete(lease);
      resolve();
    });
    response.writeHead(200, { "Content-Type": "application/x-ndjson" });
    response.flushHeaders();
    readJsonLines(request, {
      lineBytesMax: urlLineBytesMax,
      onValue: (value) => this.#onLine(lease, value as Record<string, unknown>),
      onOther: () => response.destroy(),
    });
    request.on("error", () => response.destroy());
    request.once("end", () => response.end());
  }

  look(nowMs: number): readonly ActivityItem[] {
    const items: ActivityItem[] = [];
    for (const { heardAtMs, requests, connections, waitingSinceMs } of this.#leases) {
      if (nowMs - heardAtMs > busyHoldMs) continue;
      if (waitingSinceMs !== null && nowMs - waitingSinceMs < answerHoldMsMax) {
        items.push({ kind: "url", name: `${requests} requests that are being answered` });
      }
      if (connections > 0) items.push({ kind: "url", name: "connections with traffic" });
    }
    if (nowMs - this.#askedAtMs < askHoldMs) items.push({ kind: "url", name: "a request" });
    return items;
  }

  /** The sprite was suspended: nobody reads what still comes. */
  onPaused(): void {
    for (const { response } of this.#leases) send(response, { end: "paused", reason: "asleep" });
  }

  /** Settles when nobody holds a socket in the container's network, or nobody answers. */
  async endAll(reason: string): Promise<void> {
    const closed = [...this.#leases].map(async ({ response, closed: isClosed }) => {
      send(response, { end: "ended", reason });
      await settlesWithin(isClosed, endMsMax);
      response.destroy();
    });
    await Promise.all(closed);
  }

  #onLine(lease: Lease, line: Record<string, unknown>): void {
    const { ask, timeout_ms: timeoutMs, requests, connections } = line;
    if (typeof ask === "number" && typeof timeoutMs === "number") {
      void this.#answer(lease, ask, timeoutMs);
      return;
    }
    if (typeof requests !== "number" || typeof connections !== "number") return;
    const nowMs = this.#now();
    // Nothing was said for so long that nothing was waited for.
    if (nowMs - lease.heardAtMs > busyHoldMs) lease.waitingSinceMs = null;
    lease.heardAtMs = nowMs;
    lease.requests = requests;
    lease.connections = connections;
    lease.waitingSinceMs = requests === 0 ? null : (lease.waitingSinceMs ?? nowMs);
  }

  async #answer(lease: Lease, ask: number, timeoutMs: number): Promise<void> {
    const { gate, listening } = this.#parts;
    if (lease.asks >= asksMax) {
      send(lease.response, { ask, error: "unavailable", message: "too many wait" });
      return;
    }
    lease.asks += 1;
    let leave: (() => void) | null = null;
    try {
      leave = await gate.enter({ method: "open", name: "the sprite's URL" });
      const answer = await listening(timeoutMs);
      // Held from here on: whoever hears this sends its request at once.
      this.#askedAtMs = this.#now();
      send(lease.response, { ask, ...answer });
    } catch (error) {
      const { code, message } =
        error instanceof SpriteError
          ? error
          : { code: "internal_error", message: "the sprite cannot be reached" };
      send(lease.response, { ask, error: code, message } satisfies UrlRefusal);
    } finally {
      leave?.();
      lease.asks -= 1;
    }
  }
}

function send(response: ServerResponse, line: object): void {
  if (response.writable) response.write(`${JSON.stringify(line)}\n`);
}
