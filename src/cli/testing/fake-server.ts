/**
 * A small server that follows the contract over real HTTP and WebSocket and runs real commands on
 * this machine. It is for tests of the client: sprites are names, checkpoints are list entries.
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { WebSocketServer } from "ws";
import { FakeSessions } from "./fake-sessions.ts";

export const fakeToken = "acme/org-1/tok-1/secret";

interface FakeCheckpoint {
  id: string;
  create_time: string;
  comment: string;
  is_auto: boolean;
  history: string[];
  size_bytes: number;
  unique_bytes: number;
  synced: boolean;
}

interface FakeSprite {
  name: string;
  /** As it was asked for. */
  from?: { sprite: string; checkpoint?: string };
  labels: string[];
  status: "running" | "cold";
  durability: string;
  url_settings: { auth: string };
  checkpoints: FakeCheckpoint[];
  sessions: FakeSessions;
}

/** What a test can break. */
export interface FakeFaults {
  /** The stream of checkpoint and restore ends after its first line. */
  cutStreams?: boolean;
  /** Restore ends with this error line. */
  restoreError?: string;
  /** Commands are answered, but the connection is dropped before the exit notice. */
  dropExit?: boolean;
  /** Every answer waits this long. */
  delayMs?: number;
}

export interface RecordedRequest {
  method: string;
  url: string;
  headers: IncomingMessage["headers"];
}

export class FakeServer {
  readonly faults: FakeFaults = {};
  readonly requests: RecordedRequest[] = [];
  readonly sprites = new Map<string, FakeSprite>();
  readonly #server: Server;
  readonly #sockets = new WebSocketServer({ noServer: true });

  static async start(): Promise<FakeServer> {
    const fake = new FakeServer();
    fake.#server.listen(0, "127.0.0.1");
    await once(fake.#server, "listening");
    return fake;
  }

  private constructor() {
    this.#server = createServer({ maxHeaderSize: 1024 * 1024 }, (request, response) => {
      void this.#answer(request, response).catch(() => response.destroy());
    });
    this.#server.on("upgrade", (request, socket, head) => {
      this.#record(request);
      const url = new URL(request.url ?? "/", "http://fake");
      const [, , , name, verb, id] = url.pathname.split("/").map(decodeURIComponent);
      const sprite = this.sprites.get(name ?? "");
      const refuse = (status: number, error: string, message: string): void => {
        const body = JSON.stringify({ error, message });
        socket.end(
          `HTTP/1.1 ${status} No\r\nContent-Type: application/json\r\n` +
            `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
        );
      };
      if (!isAuthorized(request)) return refuse(401, "unauthorized", "invalid or missing token");
      if (sprite === undefined || verb !== "exec") {
        return refuse(404, "not_found", `sprite not found: ${name}`);
      }
      if (id !== undefined && !sprite.sessions.has(id)) {
        return refuse(404, "not_found", `session not found: ${id}`);
      }
      this.#sockets.handleUpgrade(request, socket, head, (webSocket) => {
        if (id === undefined) sprite.sessions.start(webSocket, url.searchParams, this.faults);
        else sprite.sessions.attach(webSocket, id, url.searchParams);
      });
    });
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  addSprite(name: string): FakeSprite {
    const sprite: FakeSprite = {
      name,
      labels: [],
      status: "running",
      url_settings: { auth: "sprite" },
      durability: "local",
      checkpoints: [],
      sessions: new FakeSessions(),
    };
    this.sprites.get(name)?.sessions.endAll();
    this.sprites.set(name, sprite);
    return sprite;
  }

  async stop(): Promise<void> {
    for (const sprite of this.sprites.values()) sprite.sessions.endAll();
    for (const client of this.#sockets.clients) client.terminate();
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  #record(request: IncomingMessage): void {
    const { method = "", url = "", headers } = request;
    this.requests.push({ method, url, headers });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.#record(request);
    const { delayMs } = this.faults;
    if (delayMs !== undefined) await new Promise((resolve) => setTimeout(resolve, delayMs));
    const url = new URL(request.url ?? "/", "http://fake");
    if (!isAuthorized(request)) {
      return sendError(response, 401, "unauthorized", "invalid or missing token");
    }
    const [, , kind, name, ...rest] = url.pathname.split("/").map(decodeURIComponent);
    if (kind !== "sprites") return sendError(response, 404, "not_found", "no such endpoint");
    if (name === undefined) return await this.#answerCollection(request, response, url);
    const sprite = this.sprites.get(name);
    if (sprite === undefined) {
      return sendError(response, 404, "not_found", `sprite not found: ${name}`);
    }
    await this.#answerSprite({ request, response, url, sprite, rest });
  }

  async #answerCollection(
    request: IncomingMessage,
    response: ServerResponse,
    url: URL,
  ): Promise<void> {
    if (request.method === "POST") {
      const body = await readJson(request);
      const name = String(body["name"]);
      if (this.sprites.has(name)) {
        return sendError(response, 409, "already_exists", `a sprite ${name} exists`);
      }
      const from = body["from"] as FakeSprite["from"];
      if (from !== undefined && !this.sprites.has(from.sprite)) {
        return sendError(response, 404, "not_found", `there is no sprite ${from.sprite} to fork`);
      }
      const sprite = this.addSprite(name);
      if (from !== undefined) sprite.from = from;
      sprite.labels = (body["labels"] as string[] | undefined) ?? [];
      return sendJson(response, 201, spriteObject(sprite));
    }
    const prefix = url.searchParams.get("prefix") ?? "";
    const names = [...this.sprites.keys()].filter((key) => key.startsWith(prefix)).toSorted();
    if (request.headers.accept === "application/x-ndjson") return this.#watch(response, names);
    // Pages of two, so that following them is tested.
    const after = url.searchParams.get("continuation_token") ?? "";
    const left = names.filter((key) => key > after);
    const page = left.slice(0, 2);
    const hasMore = left.length > page.length;
    sendJson(response, 200, {
      sprites: page.map((key) => spriteObject(this.sprites.get(key) as FakeSprite)),
      has_more: hasMore,
      next_continuation_token: hasMore ? page.at(-1) : null,
      name: "acme",
      org: { name: "acme" },
    });
  }

  #watch(response: ServerResponse, names: readonly string[]): void {
    response.writeHead(200, { "Content-Type": "application/x-ndjson" });
    const timestamp = "2026-01-05T10:30:00Z";
    for (const name of names) {
      response.write(`${JSON.stringify({ name, status: "running", timestamp })}\n`);
    }
    response.end(`${JSON.stringify({ type: "heartbeat", timestamp })}\n`);
  }

  async #answerSprite(call: {
    request: IncomingMessage;
    response: ServerResponse;
    url: URL;
    sprite: FakeSprite;
    rest: string[];
  }): Promise<void> {
    const { request, response, url, sprite, rest } = call;
    const route = `${request.method} ${rest.map((part, i) => (i === 1 ? ":id" : part)).join("/")}`;
    const id = rest[1] ?? "";
    switch (route) {
      case "GET ":
        return sendJson(response, 200, spriteObject(sprite));
      case "PUT ": {
        const body = await readJson(request);
        Object.assign(sprite.url_settings, body["url_settings"]);
        const { durability } = body;
        if (typeof durability === "string") sprite.durability = durability;
        return sendJson(response, 200, spriteObject(sprite));
      }
      case "DELETE ":
        sprite.sessions.endAll();
        this.sprites.delete(sprite.name);
        response.writeHead(204).end();
        return;
      case "GET activity":
        return sendJson(response, 200, activityObject(sprite));
      case "POST sleep":
        sprite.status = "cold";
        return sendJson(response, 200, { sprite_name: sprite.name, message: "sleeps" });
      case "POST restart":
        return sendJson(response, 202, { sprite_name: sprite.name, message: "queued" });
      case "GET exec":
        return sendJson(response, 200, sprite.sessions.list());
      case "POST exec":
        return sprite.sessions.startHttp(request, response, url.searchParams, this.faults);
      case "POST exec/:id/kill":
        return sprite.sessions.kill(response, id, url.searchParams);
      default:
        return await this.#answerCheckpoints({ ...call, route, id });
    }
  }

  async #answerCheckpoints(call: {
    request: IncomingMessage;
    response: ServerResponse;
    url: URL;
    sprite: FakeSprite;
    route: string;
    id: string;
  }): Promise<void> {
    const { request, response, url, sprite, route, id } = call;
    const found = sprite.checkpoints.find((checkpoint) => checkpoint.id === id);
    if (route === "GET checkpoints") {
      const includesAuto = url.searchParams.get("includeAuto") === "true";
      const shown = sprite.checkpoints.filter(({ is_auto }) => includesAuto || !is_auto);
      return sendJson(response, 200, shown.toReversed());
    }
    if (route === "POST checkpoint") {
      const body = await readJson(request);
      const { comment } = body;
      const checkpoint = addCheckpoint(sprite, typeof comment === "string" ? comment : "");
      return this.#stream(response, [
        { type: "info", data: "Creating checkpoint..." },
        { type: "complete", data: `Checkpoint ${checkpoint.id} created` },
      ]);
    }
    if (route === "POST restore-undo" || route === "POST repair") {
      const done = route === "POST repair" ? "The file system is repaired" : "Restored from auto-1";
      return this.#stream(response, [{ type: "info" }, { type: "complete", data: done }]);
    }
    if (found === undefined) {
      return sendError(response, 404, "not_found", `checkpoint not found: ${id}`);
    }
    if (route === "GET checkpoints/:id") return sendJson(response, 200, found);
    if (route === "DELETE checkpoints/:id") {
      sprite.checkpoints.splice(sprite.checkpoints.indexOf(found), 1);
      response.writeHead(204).end();
      return;
    }
    if (route !== "POST checkpoints/:id/restore") {
      return sendError(response, 405, "method_not_allowed", "no such method");
    }
    const { restoreError } = this.faults;
    const last =
      restoreError === undefined
        ? { type: "complete", data: `Restored ${id}` }
        : { type: "error", error: restoreError };
    this.#stream(response, [{ type: "info", data: "Restoring..." }, last]);
  }

  #stream(response: ServerResponse, events: readonly Record<string, string>[]): void {
    response.writeHead(200, { "Content-Type": "application/x-ndjson" });
    const sent = this.faults.cutStreams === true ? events.slice(0, 1) : events;
    for (const event of sent) {
      response.write(`${JSON.stringify({ ...event, time: "2026-01-05T10:30:00Z" })}\n`);
    }
    response.end();
  }
}

function addCheckpoint(sprite: FakeSprite, comment: string): FakeCheckpoint {
  const checkpoint: FakeCheckpoint = {
    id: `v${sprite.checkpoints.length}`,
    create_time: new Date().toISOString(),
    comment,
    is_auto: false,
    history: sprite.checkpoints.map(({ id }) => id),
    size_bytes: 1_572_864,
    unique_bytes: 65_536,
    synced: true,
  };
  sprite.checkpoints.push(checkpoint);
  return checkpoint;
}

function spriteObject(sprite: FakeSprite): Record<string, unknown> {
  return {
    id: `id-of-${sprite.name}`,
    name: sprite.name,
    organization: "acme",
    org_slug: "acme",
    url: `https://${sprite.name}-b7k2.sprites.test`,
    url_settings: sprite.url_settings,
    status: sprite.status,
    labels: sprite.labels,
    durability: sprite.durability,
    version: "v1",
    created_at: "2026-01-13T10:30:00Z",
    last_running_at: null,
  };
}

function activityObject({ status }: FakeSprite): object {
  const isAwake = status === "running";
  const time = new Date(Date.now() - 90_000).toISOString();
  return {
    status,
    awake_because: isAwake ? [{ kind: "command", name: "make -j\u001b[2J", since: time }] : [],
    ...{ idle_since: null, idle_window_seconds: 30, sleeps_at: null },
    ...{ slept_at: isAwake ? null : time, slept_because: isAwake ? null : "nothing went on" },
    ...{ woke_at: null, woke_because: null },
  };
}

function isAuthorized(request: IncomingMessage): boolean {
  return request.headers.authorization === `Bearer ${fakeToken}`;
}

async function readJson(request: IncomingMessage): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString("utf8");
  return text === "" ? {} : (JSON.parse(text) as Record<string, unknown>);
}

function sendJson(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(value));
}

function sendError(response: ServerResponse, status: number, error: string, message: string): void {
  sendJson(response, status, { error, message });
}
