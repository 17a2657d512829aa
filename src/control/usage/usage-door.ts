/** `GET /v1/usage` over HTTP: JSON, or CSV for whoever asks for it. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { parseUsageQuery } from "../../contract/usage.ts";
import { assertMethodAllowed } from "../api.ts";
import type { Exchange } from "../exchange.ts";
import type { Organization } from "../organization.ts";
import { answerUsage } from "./usage-answer.ts";
import { usageCsv } from "./usage-csv.ts";
import type { UsageKeeper } from "./usage-keeper.ts";
import { UsagePace } from "./usage-pace.ts";

const pace = new UsagePace();

/** @throws SpriteError invalid_request, method_not_allowed, rate_limited */
export async function sendUsage(
  plain: { exchange: Exchange; request: IncomingMessage; response: ServerResponse },
  organization: Organization,
  keeper: UsageKeeper,
): Promise<void> {
  const { exchange, request, response } = plain;
  assertMethodAllowed(exchange.method, ["GET", "HEAD"]);
  const nowMs = Date.now();
  const query = parseUsageQuery(exchange.target.query, nowMs);
  const answer = await pace.run(organization, () => {
    keeper.flush();
    return answerUsage(organization, query, nowMs);
  });
  const isCsv = query.isCsv || /^text\/csv\b/i.test(request.headers.accept ?? "");
  const bytes = Buffer.from(isCsv ? usageCsv(answer) : JSON.stringify(answer));
  response.writeHead(200, {
    ...exchange.added,
    "content-type": isCsv ? "text/csv; charset=utf-8" : "application/json",
    "content-length": bytes.length,
    ...pageHeader(answer.next_continuation_token),
  });
  response.end(bytes);
}

/** CSV has no room for it. */
function pageHeader(token: string | null): Record<string, string> {
  return token === null ? {} : { "sprite-continuation-token": token };
}
