import { createHash } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";

import { SpriteError } from "../contract/errors.ts";

/** RFC 6455, section 1.3. */
const acceptSuffix = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** The headers with which a server agrees to a WebSocket. @throws SpriteError invalid_request */
export function acceptHeaders(request: IncomingHttpHeaders): Array<readonly [string, string]> {
  const key = request["sec-websocket-key"] ?? "";
  if (request["sec-websocket-version"] !== "13" || !/^[+/0-9A-Za-z]{22}==$/.test(key)) {
    throw new SpriteError("invalid_request", "the WebSocket handshake is not of version 13");
  }
  return [
    ["Upgrade", "websocket"],
    ["Connection", "Upgrade"],
    ["Sec-WebSocket-Accept", acceptKeyOf(key)],
  ];
}

/** What a server answers to a handshake's key. */
export function acceptKeyOf(key: string): string {
  return createHash("sha1").update(key).update(acceptSuffix).digest("base64");
}
