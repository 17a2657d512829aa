/**
 * From a request to an answer: knows who calls, answers what control knows, hands the rest to the
 * sprite's agent.
 */

import type { IncomingMessage } from "node:http";
import type { AddressInfo, Socket } from "node:net";

import type { Log } from "../base/log.ts";
import { rawJsonResponse } from "../base/raw-response.ts";
import { SpriteError } from "../contract/errors.ts";
import type { OpenSplices } from "./splice/open-splices.ts";
import { dropRestOfBody } from "./splice/plain-splice.ts";
import { endGently } from "./splice/gentle-end.ts";
import { askAgent, prepareUpgrade } from "./agent-door.ts";
import { assertMethodAllowed, handleApi, mintToken, type ApiResult } from "./api.ts";
import { Exchange } from "./exchange.ts";
import { readJsonBody } from "./json-body.ts";
import { stopGraceMs, stopTimeoutMs } from "./limits.ts";
import { Listener } from "./listener.ts";
import type { Organization } from "./organization.ts";
import type { Organizations } from "./organizations.ts";
import { isLoginPath, LoginDoor } from "./login/login-door.ts";
import type { McpDoor } from "./mcp/mcp-door.ts";
import { metricsContentType, type MetricsDoor } from "./metrics/metrics-door.ts";
import { sendJson, type Plain } from "./plain-answer.ts";
import { isPublicPage, publicPage } from "./public-pages.ts";
import { parseRoute, type Route } from "./request-target.ts";
import type { Sprites } from "./sprites.ts";
import { answerTokens, type TokenRoute } from "./token-routes.ts";
import { authenticate, parseAuthorization, secretsEqual, type Caller } from "./tokens.ts";
import type { Tracing } from "./tracing.ts";
import { exportSprite, importSprite } from "./transfer.ts";
import type { LoginCodes } from "./url-access/login-codes.ts";
import type { UrlSessions } from "./url-access/url-sessions.ts";
import { sendUsage } from "./usage/usage-door.ts";
import type { UsageKeeper } from "./usage/usage-keeper.ts";
import { streamWatch, wantsWatch } from "./watch-stream.ts";

export interface FrontDoorOptions {
  organizations: Organizations;
  sprites: Sprites;
  splices: OpenSplices;
  usage: UsageKeeper;
  metrics: MetricsDoor;
  tracing: Tracing;
  /** Why the server cannot do its work at the moment. */
  problems: () => readonly string[];
  version: string;
  /** Lets its holder mint tokens over the API; null lets nobody. */
  adminSecret: string | null;
  /** Of browsers that open sprites' URLs. */
  urlLogins: { sessions: UrlSessions; codes: LoginCodes; urlDomain: string };
  certificates: CertificateState;
  log: Log;
  onTokenUsed(caller: Caller): void;
}

/** Of the port that sprites' URLs are on. */
export interface CertificateState {
  /** PEM; null: clients trust it already, or there is no such port. */
  authorityPem(): Promise<string | null>;
  /** What is wrong now, for people. */
  problems(): readonly string[];
}

export class FrontDoor {
  readonly #options: FrontDoorOptions;
  readonly #listener: Listener;
  readonly #login: LoginDoor;
  #mcp: Promise<McpDoor> | null = null;
  #isDrained = false;
  #state: "starting" | "ready" | "stopping" = "starting";

  constructor(options: FrontDoorOptions) {
    this.#options = options;
    this.#login = new LoginDoor({ ...options, ...options.urlLogins });
    this.#listener = new Listener(
      {
        onRequest: (request, response, expectsContinue) => {
          const exchange = this.#exchangeOf(request);
          void this.#onRequest({ exchange, request, response, expectsContinue });
        },
        onUpgrade: (request, socket, head) => void this.#onUpgrade(request, socket, head),
      },
      options.version,
    );
  }

  async start(listen: { host: string; port: number }): Promise<AddressInfo> {
    const address = await this.#listener.listen(listen);
    this.#state = "ready";
    return address;
  }

  /** It serves on, and says that it takes no work for now. */
  setDrained(isDrained: boolean): void {
    this.#isDrained = isDrained;
  }

  /** One that another port has accepted. */
  serveConnection(socket: Socket): void {
    this.#listener.serve(socket);
  }

  /** Sockets are told; answers under way get a moment to end; then everything is cut. */
  async stop(): Promise<void> {
    this.#state = "stopping";
    const end = { code: 1001, reason: "server stopping", error: stoppingError() } as const;
    const { sprites, splices } = this.#options;
    const closed = this.#listener.close();
    sprites.watch.watchers.endAll();
    splices.endSockets(end);
    const grace = setTimeout(() => splices.endAll(end), stopGraceMs);
    const cut = setTimeout(() => this.#listener.destroyConnections(), stopTimeoutMs);
    await closed;
    clearTimeout(grace);
    clearTimeout(cut);
  }

  async #onRequest(plain: Plain): Promise<void> {
    const { exchange, request, response } = plain;
    response.once("close", () => {
      exchange.done(response.writableFinished ? response.statusCode : null);
      if (this.#state === "stopping") setImmediate(() => this.#listener.closeIdleConnections());
    });
    try {
      await this.#answer(plain);
    } catch (error) {
      if (response.headersSent || response.destroyed) {
        response.destroy();
        return;
      }
      const { status, body, headers } = exchange.describeError(error);
      sendJson(response, { status, body }, headers);
    }
    dropRestOfBody(request, response);
  }

  async #answer(plain: Plain): Promise<void> {
    const { exchange, request, response } = plain;
    const health = this.#health(exchange);
    if (health !== null) return sendJson(response, health, exchange.added);
    if (exchange.target.rawPath === "/metrics") return await this.#sendMetrics(plain);
    if (isPublicPage(exchange.target.rawPath)) return this.#sendPage(plain);
    if (exchange.target.rawPath === "/ca.pem") return this.#sendAuthority(plain);
    if (this.#state === "stopping") throw stoppingError();
    if (isLoginPath(exchange.target.rawPath)) return this.#login.answer(plain);
    if (parseAuthorization(request.headers.authorization, "FlyV1") !== null) {
      return sendJson(response, await this.#mint(plain), exchange.added);
    }
    const caller = this.#authenticate(exchange, request);
    if (exchange.target.rawPath === "/mcp") {
      const mcp = await this.#mcpDoor();
      return mcp.answer(plain, caller.organization);
    }
    const route = parseRoute(exchange.target.rawPath);
    if (route.kind === "tokens" || route.kind === "token") {
      return sendJson(response, answerTokens(exchange.method, caller, route), exchange.added);
    }
    if (route.kind === "usage") return sendUsage(plain, caller.organization, this.#options.usage);
    if (route.kind === "agent") {
      const { sprites, splices } = this.#options;
      const { organization } = caller;
      return await askAgent(plain, { organization, route, sprites, splices });
    }
    return this.#askControl(plain, caller.organization, route);
  }

  async #sendPage({ exchange, response }: Plain): Promise<void> {
    assertMethodAllowed(exchange.method, ["GET", "HEAD"]);
    const page = await publicPage(exchange.target.rawPath, this.#options.version);
    const headers = { "content-type": page.contentType, "content-length": page.bytes.length };
    response.writeHead(200, { ...exchange.added, ...headers }).end(page.bytes);
  }

  /** What clients have to trust, for `sprite trust`. @throws SpriteError not_found */
  async #sendAuthority({ exchange, response }: Plain): Promise<void> {
    assertMethodAllowed(exchange.method, ["GET", "HEAD"]);
    const authorityPem = await this.#options.certificates.authorityPem();
    if (authorityPem === null) {
      throw new SpriteError("not_found", "this server has no certificate authority of its own");
    }
    const contentType = { "content-type": "application/x-pem-file" };
    const headers = { ...contentType, "content-length": Buffer.byteLength(authorityPem) };
    response.writeHead(200, { ...exchange.added, ...headers }).end(authorityPem);
  }

  /** Loaded when first asked for: most servers never are. */
  #mcpDoor(): Promise<McpDoor> {
    this.#mcp ??= import("./mcp/mcp-door.ts").then(({ McpDoor }) => new McpDoor(this.#options));
    return this.#mcp;
  }

  #health(exchange: Exchange): ApiResult | null {
    const { rawPath } = exchange.target;
    if (rawPath === "/healthz") return { status: 200, body: { status: "ok" } };
    if (rawPath !== "/readyz") return null;
    const state = this.#state === "ready" && this.#isDrained ? "drained" : this.#state;
    // What is wrong with a certificate keeps nobody from the API: whoever watches it reads of it.
    const grave = this.#options.problems();
    const all = [...grave, ...this.#options.certificates.problems()];
    const more = all.length === 0 ? {} : { problems: all };
    if (state !== "ready") return { status: 503, body: { status: state, ...more } };
    if (grave.length > 0) return { status: 503, body: { status: "not_ready", ...more } };
    return { status: 200, body: { status: "ok", ...more } };
  }

  #exchangeOf(request: IncomingMessage): Exchange {
    const { version, log, metrics, tracing } = this.#options;
    return new Exchange(request, { version, log, tracing, metrics: metrics.recorder });
  }

  /** @throws SpriteError unauthorized */
  async #sendMetrics({ exchange, request, response }: Plain): Promise<void> {
    const { adminSecret, metrics } = this.#options;
    const secret = parseAuthorization(request.headers.authorization, "Bearer") ?? "";
    if (adminSecret === null || !secretsEqual(secret, adminSecret)) {
      throw new SpriteError("unauthorized", "only the server's admin secret reads metrics");
    }
    assertMethodAllowed(exchange.method, ["GET", "HEAD"]);
    const bytes = Buffer.from(await metrics.text());
    const headers = { "content-type": metricsContentType, "content-length": bytes.length };
    response.writeHead(200, { ...exchange.added, ...headers }).end(bytes);
  }

  /** @throws SpriteError unauthorized */
  #authenticate(exchange: Exchange, request: IncomingMessage): Caller {
    const caller = authenticate(this.#options.organizations, request.headers.authorization);
    exchange.organizationSlug = caller.organization.record.slug;
    this.#options.onTokenUsed(caller);
    return caller;
  }

  /** The one endpoint for the admin secret, which stands in for Fly's macaroon. @throws SpriteError */
  async #mint(plain: Plain): Promise<ApiResult> {
    const { exchange, request, response, expectsContinue } = plain;
    const slug = tokensRouteSlug(exchange.target.rawPath);
    if (slug === null) throw new SpriteError("unauthorized", "invalid or missing token");
    const { adminSecret, organizations } = this.#options;
    const credential = parseAuthorization(request.headers.authorization, "FlyV1") ?? "";
    // The macaroon's own text may begin with the scheme's name.
    const secret = parseAuthorization(credential, "FlyV1") ?? credential;
    if (adminSecret === null || !secretsEqual(secret, adminSecret)) {
      throw new SpriteError("forbidden", "only the server's admin secret mints tokens");
    }
    assertMethodAllowed(exchange.method, ["POST"]);
    const body = await readJsonBody(request, response, expectsContinue);
    return mintToken(organizations, slug, body);
  }

  async #askControl(
    plain: Plain,
    organization: Organization,
    route: Exclude<Route, { kind: "agent" | "usage" } | TokenRoute>,
  ): Promise<void> {
    const { exchange, request, response, expectsContinue } = plain;
    const { sprites } = this.#options;
    const { query } = exchange.target;
    const { method, added } = exchange;
    if (route.kind === "sprites" && method === "GET" && wantsWatch(request.headers.accept)) {
      streamWatch({ sprites, organization, query, response, added });
      return;
    }
    if (route.kind === "export" || route.kind === "import") {
      const { worker } = sprites;
      const transfer = { ...plain, sprites, worker, organization, method, added, name: route.name };
      if (route.kind === "export") await exportSprite(transfer);
      else sendJson(response, await importSprite(transfer), added);
      return;
    }
    const readBody = () => readJsonBody(request, response, expectsContinue);
    const gone = new AbortController();
    response.once("close", () => gone.abort());
    const { signal } = gone;
    const result = await handleApi(sprites, {
      method,
      route,
      query,
      organization,
      readBody,
      signal,
    });
    sendJson(response, result, added);
  }

  async #onUpgrade(request: IncomingMessage, socket: Socket, head: Buffer): Promise<void> {
    const exchange = this.#exchangeOf(request);
    const { sprites, splices } = this.#options;
    try {
      const { organization } = this.#authenticate(exchange, request);
      if (this.#state === "stopping") throw stoppingError();
      const route = parseRoute(exchange.target.rawPath);
      const to = { organization, route, sprites };
      const upgrade = { exchange, request, socket, head };
      const { spriteId, splice } = prepareUpgrade(upgrade, to);
      const remove = splices.add(spriteId, splice);
      socket.once("close", remove);
      if (socket.destroyed) remove();
      exchange.done(await splice.run());
    } catch (error) {
      if (socket.destroyed) {
        exchange.done(null);
        return;
      }
      const { status, body, headers } = exchange.describeError(error);
      endGently(socket, rawJsonResponse(status, body, headers));
      exchange.done(status);
    }
  }
}

function tokensRouteSlug(rawPath: string): string | null {
  try {
    const route = parseRoute(rawPath);
    return route.kind === "tokens" ? route.organizationSlug : null;
  } catch {
    // Whatever is wrong with the path is nobody's business without a token.
    return null;
  }
}

function stoppingError(): SpriteError {
  return new SpriteError("unavailable", "the server is stopping");
}
