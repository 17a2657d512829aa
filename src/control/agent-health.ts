import { request as httpRequest, type IncomingMessage } from "node:http";

import { checkBodySizeBytesMax, checkTimeoutMs } from "./limits.ts";

export interface AgentHealth {
  healthy: boolean;
  /** Why it is not healthy; null when it is. */
  reason: string | null;
  /** What the agent says it runs, from its `Sprite-Version`; null when it does not say. */
  version: string | null;
}

/** Asks the agent's own `/healthz`. Never throws: no answer is an answer too. */
export async function askAgentHealth(socketPath: string): Promise<AgentHealth> {
  try {
    const { response, text } = await get(socketPath, "/healthz");
    const version = response.headers["sprite-version"];
    return {
      healthy: response.statusCode === 200,
      reason: response.statusCode === 200 ? null : unhealthyReason(response.statusCode, text),
      version: typeof version === "string" ? version : null,
    };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return { healthy: false, reason: `the agent does not answer: ${message}`, version: null };
  }
}

function unhealthyReason(status: number | undefined, text: string): string {
  try {
    const body: unknown = JSON.parse(text);
    if (typeof body === "object" && body !== null) {
      const { reason, message } = body as { reason?: unknown; message?: unknown };
      if (typeof reason === "string") return reason;
      if (typeof message === "string") return message;
    }
  } catch {
    // Not JSON: the status says it all.
  }
  return `the agent answers with status ${status ?? 0}`;
}

function get(
  socketPath: string,
  path: string,
): Promise<{ response: IncomingMessage; text: string }> {
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(checkTimeoutMs);
    const request = httpRequest({ socketPath, path, agent: false, signal });
    request.on("error", reject);
    request.on("response", (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (part: string) => {
        if (text.length < checkBodySizeBytesMax) text += part;
      });
      response.on("end", () => resolve({ response, text }));
      response.on("error", reject);
    });
    request.end();
  });
}
