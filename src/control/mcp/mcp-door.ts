/** `/mcp`: the Model Context Protocol over Streamable HTTP, without sessions: each request stands for itself. */

import type { IncomingMessage, ServerResponse } from "node:http";

import { SpriteError } from "../../contract/errors.ts";
import { assertMethodAllowed } from "../api.ts";
import type { Exchange } from "../exchange.ts";
import { readJsonBody } from "../json-body.ts";
import type { Organization } from "../organization.ts";
import type { OpenSplices } from "../splice/open-splices.ts";
import type { Sprites } from "../sprites.ts";
import {
  failure,
  parseMessage,
  RpcError,
  rpcCodes,
  type RpcAnswer,
  type RpcId,
} from "./json-rpc.ts";
import {
  batchMessagesMax,
  requestsPerOrganizationMax,
  requestsRetrySeconds,
  requestTimeoutMs,
} from "./limits.ts";
import { callMethod, type MethodContext } from "./methods.ts";
import { allowsBatch, assertKnownVersion, isStateless, type VersionHeaders } from "./versions.ts";

export interface McpVisit {
  exchange: Exchange;
  request: IncomingMessage;
  response: ServerResponse;
  expectsContinue: boolean;
}

export interface McpDoorOptions {
  sprites: Sprites;
  splices: OpenSplices;
  version: string;
}

type CallContext = Omit<MethodContext, "isStateless">;

interface Answered {
  status: number;
  answer: RpcAnswer | null;
}

export class McpDoor {
  readonly #options: McpDoorOptions;
  readonly #underWay = new Map<Organization, number>();

  constructor(options: McpDoorOptions) {
    this.#options = options;
  }

  /** The caller has shown a token of the organization. @throws SpriteError before anything was answered */
  async answer(visit: McpVisit, organization: Organization): Promise<void> {
    // A stream of what the server has to say by itself would be a GET, a session's end a DELETE: there is neither.
    assertMethodAllowed(visit.exchange.method, ["POST"]);
    assertSameOrigin(visit.request);
    const leave = this.#enter(organization);
    const end = new AbortController();
    const timer = setTimeout(() => end.abort(tooLate()), requestTimeoutMs);
    visit.response.once("close", () => end.abort(clientGone()));
    // It may have left while this server was busy with something else.
    if (visit.response.destroyed) end.abort(clientGone());
    try {
      const headers = versionHeaders(visit.request);
      const { exchange } = visit;
      const context = {
        ...this.#options,
        organization,
        requestId: exchange.requestId,
        signal: end.signal,
        describeError: (error: unknown) => exchange.describeError(error).body,
      };
      send(visit, await this.#answerBody(visit, headers, context));
    } finally {
      clearTimeout(timer);
      leave();
    }
  }

  async #answerBody(
    visit: McpVisit,
    headers: VersionHeaders,
    context: CallContext,
  ): Promise<{ status: number; body: object | null }> {
    try {
      assertKnownVersion(headers);
      const body = await readBody(visit);
      if (!Array.isArray(body)) {
        const { status, answer } = await answerMessage(body, headers, context);
        return { status, body: answer };
      }
      assertBatchAllowed(body, headers);
      const answers: RpcAnswer[] = [];
      // In turn, so that one body does not start sixteen things at once.
      for (const message of body) {
        const { answer } = await answerMessage(message, headers, context);
        if (answer !== null) answers.push(answer);
      }
      return answers.length === 0 ? { status: 202, body: null } : { status: 200, body: answers };
    } catch (error) {
      if (!(error instanceof RpcError)) throw error;
      return { status: error.status, body: failure(null, error) };
    }
  }

  /** @throws SpriteError rate_limited */
  #enter(organization: Organization): () => void {
    const count = this.#underWay.get(organization) ?? 0;
    if (count >= requestsPerOrganizationMax) {
      const message = `${requestsPerOrganizationMax} MCP requests of the organization are under way, the most there may be`;
      const details = {
        limit: requestsPerOrganizationMax,
        retry_after_seconds: requestsRetrySeconds,
      };
      throw new SpriteError("rate_limited", message, { details });
    }
    this.#underWay.set(organization, count + 1);
    return () => {
      const left = (this.#underWay.get(organization) ?? 1) - 1;
      if (left === 0) this.#underWay.delete(organization);
      else this.#underWay.set(organization, left);
    };
  }
}

async function answerMessage(
  message: unknown,
  headers: VersionHeaders,
  context: CallContext,
): Promise<Answered> {
  let id: RpcId | null = null;
  try {
    const request = parseMessage(message);
    if (request === null) return { status: 202, answer: null };
    id = request.id;
    const full = { ...context, isStateless: isStateless(request, headers) };
    const result = await callMethod(full, request);
    return { status: 200, answer: { jsonrpc: "2.0", id, result } };
  } catch (error) {
    if (error instanceof RpcError) return { status: error.status, answer: failure(id, error) };
    const { error: code, message: text } = context.describeError(error);
    const failed = new RpcError(rpcCodes.internalError, `${code}: ${text}`);
    return { status: 200, answer: failure(id, failed) };
  }
}

/** @throws RpcError parse error. @throws SpriteError payload_too_large */
async function readBody({ request, response, expectsContinue }: McpVisit): Promise<unknown> {
  try {
    return await readJsonBody(request, response, expectsContinue);
  } catch (error) {
    if (!(error instanceof SpriteError) || error.code !== "invalid_request") throw error;
    throw new RpcError(rpcCodes.parseError, error.message, { status: 400 });
  }
}

/** @throws RpcError invalid request */
function assertBatchAllowed(messages: readonly unknown[], headers: VersionHeaders): void {
  const options = { status: 400 };
  if (!allowsBatch(headers)) {
    const text = "this version of the protocol has one message in a body";
    throw new RpcError(rpcCodes.invalidRequest, text, options);
  }
  if (messages.length > 0 && messages.length <= batchMessagesMax) return;
  const text = `a body has 1 to ${batchMessagesMax} messages`;
  throw new RpcError(rpcCodes.invalidRequest, text, options);
}

/**
 * The protocol asks for it, against pages that reach a server of the reader's own machine by a name of
 * theirs. Programs send no origin. @throws SpriteError forbidden
 */
function assertSameOrigin({ headers }: IncomingMessage): void {
  const { origin } = headers;
  // Behind a proxy the browser knows us by another name.
  const host = headers["x-forwarded-host"] ?? headers.host;
  if (origin === undefined || URL.parse(origin)?.host === host) return;
  throw new SpriteError("forbidden", "pages of other sites may not call this server");
}

function versionHeaders({ headers }: IncomingMessage): VersionHeaders {
  const text = (name: string): string | null => {
    const value = headers[name];
    return typeof value === "string" ? value : null;
  };
  return {
    version: text("mcp-protocol-version"),
    method: text("mcp-method"),
    name: text("mcp-name"),
  };
}

function tooLate(): SpriteError {
  const message = `the tool did not end within ${requestTimeoutMs / 1000} s`;
  return new SpriteError("deadline_exceeded", message);
}

function clientGone(): SpriteError {
  return new SpriteError("unavailable", "the client has gone");
}

function send(
  { exchange, response }: McpVisit,
  { status, body }: { status: number; body: object | null },
): void {
  if (body === null) {
    response.writeHead(status, { ...exchange.added, "content-length": 0 }).end();
    return;
  }
  const bytes = Buffer.from(JSON.stringify(body));
  response.writeHead(status, {
    ...exchange.added,
    "content-type": "application/json",
    "content-length": bytes.length,
  });
  response.end(bytes);
}
