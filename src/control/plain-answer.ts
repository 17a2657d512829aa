import type { IncomingMessage, ServerResponse } from "node:http";

import type { ApiResult } from "./api.ts";
import type { Exchange } from "./exchange.ts";
import type { AddedHeaders } from "./splice/http-heads.ts";

/** A request that is no upgrade. */
export interface Plain {
  exchange: Exchange;
  request: IncomingMessage;
  response: ServerResponse;
  expectsContinue: boolean;
}

export function sendJson(response: ServerResponse, result: ApiResult, headers: AddedHeaders): void {
  if (result.body === null) {
    response.writeHead(result.status, headers).end();
    return;
  }
  const bytes = Buffer.from(JSON.stringify(result.body));
  response.writeHead(result.status, {
    ...headers,
    "content-type": "application/json",
    "content-length": bytes.length,
  });
  response.end(bytes);
}
